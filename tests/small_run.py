"""One small but real STaR run, made once a session: real server, real model, real trainer."""

import fcntl
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tasks.processes import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[1]
Made = TypeVar("Made")


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """What `make` gives for a folder of its own, made by the first of a session's processes that asks, and read by the others."""
    base = factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = shared / "made.pickle"
        if not kept.exists():
            made = make(shared)
            kept.write_bytes(pickle.dumps(made))
        return pickle.loads(kept.read_bytes())


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a process that has imported torch, TRL and MLflow once, for all the runs of this session."""
    folder = tmp_path_factory.mktemp("warm")
    address = folder / "socket"
    with (folder / "log").open("wb") as log:
        lender = subprocess.Popen(
            [sys.executable, "-P", "-m", "tasks.warm", str(address)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=ENVIRONMENT | os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    while not address.exists():
        assert lender.poll() is None, (folder / "log").read_text()
        time.sleep(0.1)
    yield str(address)
    lender.kill()
    lender.wait()


@pytest.fixture(scope="session")
def starloop(prefect_server: str, warm: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command in a process of its own, against the session's server."""

    def call(*arguments: str, home: Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "flows.cli.main", *arguments]
        settings = os.environ | {
            "STARLOOP_HOME": str(home),
            "PREFECT_API_URL": prefect_server,
            "STARLOOP_WARM": warm,
            "COLUMNS": "100",
            **environment,
        }
        return subprocess.run(command, capture_output=True, text=True, env=settings, cwd=cwd, timeout=600, check=False)

    return call


@pytest.fixture(scope="session")
def small_run(starloop, tmp_path_factory) -> tuple[Path, dict[str, Any], str]:
    """The home of a finished `addition-smoke` run, its status, and what the terminal showed. Read it; copy it to change it."""

    def make(folder: Path) -> tuple[Path, dict[str, Any], str]:
        home = folder / "home"
        done = starloop("run", "star", "--preset", "addition-smoke", home=home)
        assert done.returncode == 0, done.stderr
        return home, status_of(starloop, home), done.stdout

    return once(tmp_path_factory, "small-run", make)


def status_of(starloop: Callable[..., subprocess.CompletedProcess[str]], home: Path) -> dict[str, Any]:
    """The newest run as `status --json` gives it."""
    runs = json.loads(starloop("status", "--json", home=home).stdout)
    return json.loads(starloop("status", runs[0]["run_id"], "--json", home=home).stdout)
