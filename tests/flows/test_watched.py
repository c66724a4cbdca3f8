"""What a run shows of itself in Prefect's pages, read back from a real server."""

import os

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from flows.progress import IterationDone, RunDone, StepDone
from flows.watched import LINES_AT_ONCE, PrefectListener, links, watching
from storage.home import Home

pytestmark = pytest.mark.slow

FIGURES = {"iteration": 1, "held_out_accuracy": 0.51234, "ci_low": 0.4, "ci_high": 0.6, "attempts": 10, "kept": 5, "undecided": 2,
           "train_rows": 5, "tokens": 70, "wall_s": 3.14159, "checkpoint_id": "c" * 32}  # fmt: skip


@pytest.fixture(scope="module")
def told(prefect_server, tmp_path_factory):
    """Artifacts and log lines of a flow run that did nothing but tell."""
    home = Home.open(tmp_path_factory.mktemp("home") / "home")
    home.logs.mkdir(exist_ok=True)
    (home.logs / "earlier.log").write_text("said before the run\n")

    @flow(name="telling")
    def telling() -> str:
        from prefect.runtime import flow_run

        with watching(home) as listener:
            assert isinstance(listener, PrefectListener)
            listener.step_started(1, "sample", 1)
            listener.advance("sample", 3, 4)
            (home.logs / "engine-1.log").write_text("\n".join(f"line {n}" for n in range(LINES_AT_ONCE + 5)) + "\ntorn")
            listener.step_done(StepDone(1, "sample", 1, 0, 0.5, "4 of 4"))
            listener.iteration_done(IterationDone(FIGURES))
            listener.run_done(RunDone("a" * 32, "completed"))
        return str(flow_run.id)

    ran = telling()
    with get_client(sync_client=True) as client:
        chosen = FlowRunFilter(id=FlowRunFilterId(any_=[ran]))
        return {one.key: one for one in client.read_artifacts(flow_run_filter=chosen)}, ran


def test_the_step_under_way_is_a_bar(told):
    artifacts, ran = told
    bar = artifacts[f"step-{ran.replace('-', '')[:12]}"]
    assert (bar.type, bar.data, bar.description) == ("progress", 100.0, "iteration 1: sample")


def test_the_iterations_are_a_table(told):
    artifacts, ran = told
    table = artifacts[f"iterations-{ran.replace('-', '')[:12]}"]
    assert table.type == "table"
    assert '"held_out_accuracy": 0.5123' in table.data
    assert '"undecided": 2' in table.data


def test_the_end_says_where_to_look_next(told):
    artifacts, _ = told
    page = artifacts[f"run-{'a' * 12}"]
    assert page.data.startswith("**completed**")
    assert "starloop status aaaaaaaaaaaa" in page.data


def test_mlflows_pages_are_linked_where_they_are_up(monkeypatch, tmp_path):
    monkeypatch.setenv("STARLOOP_MLFLOW_UI", "http://127.0.0.1:5000")
    said = links(RunDone("a" * 32, "stopped", "4,000 tokens were generated"), tmp_path / "run.html")
    assert said.startswith("**stopped**: 4,000 tokens were generated")
    assert "[MLflow](http://127.0.0.1:5000/#/experiments)" in said
    assert (tmp_path / "run.html").as_uri() in said
    assert "STARLOOP_MLFLOW_UI" in os.environ
