"""One small but real STaR run, made once a session: real server, real model, real trainer."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def starloop(prefect_server: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command in a process of its own, against the session's server."""

    def call(*arguments: str, home: Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "flows.cli.main", *arguments]
        settings = os.environ | {
            "STARLOOP_HOME": str(home),
            "PREFECT_API_URL": prefect_server,
            "COLUMNS": "100",
            **environment,
        }
        return subprocess.run(command, capture_output=True, text=True, env=settings, cwd=cwd, timeout=280, check=False)

    return call


@pytest.fixture(scope="session")
def small_run(starloop, tmp_path_factory) -> tuple[Path, dict[str, Any], str]:
    """The home of a finished `addition-smoke` run, its status, and what the terminal showed. Read it; copy it to change it."""
    home = tmp_path_factory.mktemp("small-run") / "home"
    done = starloop("run", "star", "--preset", "addition-smoke", home=home)
    assert done.returncode == 0, done.stderr
    return home, status_of(starloop, home), done.stdout


def status_of(starloop: Callable[..., subprocess.CompletedProcess[str]], home: Path) -> dict[str, Any]:
    """The newest run as `status --json` gives it."""
    runs = json.loads(starloop("status", "--json", home=home).stdout)
    return json.loads(starloop("status", runs[0]["run_id"], "--json", home=home).stdout)
