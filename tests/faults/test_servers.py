"""Prefect and MLflow that are not there for a while, and Prefect's own way to run again what failed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.server import LocalServer, free_port
from storage.home import Home
from storage.lineage import Lineage
from tasks.outbox import Outbox
from tests.faults.comparison import differences, faults_in, ledger_rows, told
from tests.faults.conftest import RUN
from tests.faults.outcomes import Outcome, counted
from tests.faults.trace import Redone, Trace
from tests.faults.under_way import UnderWay, soon
from tests.small_run import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.further_fault
def test_mlflow_that_is_not_there_is_told_everything_once_when_it_is(undisturbed, new_home, sit, tmp_path, outcomes):
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    silent = sit(new_home, MLFLOW_TRACKING_URI=uri)
    assert silent.done.returncode == 0, silent.sentence
    assert f"MLflow at {uri} does not answer" in " ".join(silent.done.stdout.split())
    assert differences(ledger_rows(new_home), undisturbed.rows) == []
    waiting = len(Outbox(new_home).waiting(uri))
    assert waiting > 0
    store = tmp_path / "server"
    store.mkdir()
    with mlflow_server(port, store):
        again = sit(new_home, MLFLOW_TRACKING_URI=uri)
        assert again.done.returncode == 0, again.sentence
    assert Outbox(new_home).waiting(uri) == []
    assert again.trace.count("task-before-work") == 0
    expected = {what: rows for what, rows in undisturbed.told.items() if what in {"metrics", "durations"}}
    found = told(store)
    run_id = status_run(new_home)
    # The home's own store also knows the base's run, which this server was never told of.
    for what, rows in expected.items():
        ours = {row: count for row, count in rows.items() if row[0] in about(undisturbed.home, run_id)}
        assert ours
        assert dict(found[what]) == ours
    assert faults_in(new_home) == []
    outcomes.append(
        Outcome("MLflow unreachable", "from the first message to the last", "nothing", "nothing", again.seconds)
    )


def status_run(home: Path) -> str:
    with Lineage.open(Home(home), fresh=True) as lineage:
        return lineage.runs()[0].run_id


def about(home: Path, run_id: str) -> set[str]:
    """The ids under which MLflow knows a loop and its iterations."""
    from storage.identity import content_id

    return {run_id} | {content_id("iteration", run=run_id, iteration=number) for number in range(3)}


class mlflow_server:
    """A real tracking server on loopback with a store of its own."""

    def __init__(self, port: int, folder: Path) -> None:
        store = f"sqlite:///{folder / 'mlflow.db'}"
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
                   "--backend-store-uri", store, "--artifacts-destination", str(folder / "artifacts")]  # fmt: skip
        self._port = port
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd=folder
        )

    def __enter__(self) -> None:
        from tasks.tracking_server import answers

        assert soon(lambda: answers(f"http://127.0.0.1:{self._port}"), 120)

    def __exit__(self, *exception: object) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()


@pytest.mark.further_fault
def test_a_prefect_server_that_dies_is_one_sentence_and_the_same_command_goes_on(
    undisturbed, new_home, sit, tmp_path, outcomes
):
    before = os.environ.get("PREFECT_API_URL")
    server = LocalServer(tmp_path / "prefect.log")
    server.start()
    try:
        server.wait()
        with UnderWay(new_home, tmp_path, RUN, PREFECT_API_URL=server.url) as run:
            run.until("journal-after-append")
            server._process.kill()
            code = run.end()
    finally:
        server.stop()
        os.environ.pop("PREFECT_API_URL")
        os.environ |= {"PREFECT_API_URL": before} if before else {}
    assert code in (0, 1, 2)
    assert "Traceback" not in run.said, run.said
    again = sit(new_home)
    assert again.done.returncode == 0, again.sentence
    assert differences(ledger_rows(new_home), undisturbed.rows) == []
    assert differences(told(new_home), undisturbed.told) == []
    assert faults_in(new_home) == []
    redone = Redone.between(undisturbed.sitting.trace, run.trace, again.trace)
    what = counted(tasks=redone.tasks, requests=redone.requests, steps=redone.steps)
    outcomes.append(Outcome("Prefect's server killed", "while sampling", "nothing", what, again.seconds))


@pytest.fixture
def served(prefect_server, tmp_path) -> Iterator[Path]:
    """The flow `star` served by a process of its own; the trace of what its runs reach."""
    trace = tmp_path / "points"
    script = "from flows.star import star; star.serve(name='faults', limit=1)"
    settings = os.environ | {
        "PREFECT_API_URL": prefect_server, "PREFECT_RUNNER_POLL_FREQUENCY": "1", "STARLOOP_FAULT_TRACE": str(trace),
    }  # fmt: skip
    with (tmp_path / "served.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {script}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=settings, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
    yield trace
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(server: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One call of Prefect's API, as its UI makes them."""
    request = urllib.request.Request(
        f"{server}{path}", method=method, headers={"Content-Type": "application/json"},
        data=None if body is None else json.dumps(body).encode(),
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def test_retry_in_the_prefect_ui_runs_the_failed_task_and_what_follows(
    undisturbed, new_home, served, prefect_server, outcomes
):
    shutil.rmtree(new_home / "trainings", ignore_errors=True)
    (new_home / "trainings").write_text("a file where the trainings' folder has to be")
    found: list[Any] = []
    assert soon(lambda: bool(found or found.extend(ask(prefect_server, "POST", "/deployments/filter", {
        "deployments": {"name": {"any_": ["faults"]}}
    }))), 120)  # fmt: skip
    overrides = {"iterations": 1, "seed": 9, "problems_per_iteration": 450, "training": {"save_steps": 4}}
    request = {"preset": "addition-smoke", "home": str(new_home), "overrides": overrides}
    run = ask(
        prefect_server, "POST", f"/deployments/{found[0]['id']}/create_flow_run", {"parameters": {"request": request}}
    )

    def state() -> dict[str, Any]:
        return ask(prefect_server, "GET", f"/flow_runs/{run['id']}")["state"]

    assert soon(lambda: state()["type"] in {"FAILED", "CRASHED", "COMPLETED"})
    assert state()["type"] == "FAILED", state()
    first = Trace.read(served)

    (new_home / "trainings").unlink()
    begun = time.monotonic()
    retry = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}, "force": True}
    assert ask(prefect_server, "POST", f"/flow_runs/{run['id']}/set_state", retry)["status"] == "ACCEPT"
    assert soon(lambda: state()["type"] in {"FAILED", "CRASHED", "COMPLETED"})
    assert state()["type"] == "COMPLETED", state()
    seconds = time.monotonic() - begun

    task_runs = ask(prefect_server, "POST", "/task_runs/filter", {
        "flow_runs": {"id": {"any_": [run["id"]]}}, "limit": 200,
    })  # fmt: skip
    sittings = {count: [one for one in task_runs if one["flow_run_run_count"] == count] for count in (1, 2)}
    failed = [one["name"] for one in sittings[1] if one["state"]["type"] == "FAILED"]
    assert failed == ["1 fine-tune"]
    done_before = {one["name"] for one in sittings[1]} - set(failed)
    assert len(done_before) > 10
    ran = {one["name"] for one in sittings[2] if one["state"]["name"] == "Completed"}
    cached = {one["name"] for one in sittings[2] if one["state"]["name"] == "Cached"}
    assert "1 fine-tune" in ran
    assert not ran & done_before
    assert cached >= done_before - {name for name in done_before if name.startswith("1 audit")}

    again = Trace(Trace.read(served).points[len(first.points) :])
    redone = Redone.between(undisturbed.sitting.trace, first, again)
    assert redone == Redone(1, 0, 0)  # the fine-tune, which had begun
    assert differences(ledger_rows(new_home), undisturbed.rows) == []
    assert differences(told(new_home), undisturbed.told) == []
    assert faults_in(new_home) == []
    outcomes.append(
        Outcome("Retry in the Prefect UI", "a served run's fine-tune had failed", "nothing", "1 task", seconds)
    )
