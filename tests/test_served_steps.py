"""The sample step through a server: what a fault costs, what a second sitting asks for, and what it all costs."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import pytest

from flows.cli.plan import in_all
from flows.plan import plan
from flows.refs import code_behind, run_identity
from flows.resolving import resolve
from flows.step import Cell, StepFigures
from storage.errors import EngineFault, UserMistake
from storage.home import Home
from storage.identity import digest
from storage.ledger import Ledger, StepCommit
from storage.lineage import Lineage
from storage.manifest import Manifest, Output
from storage.records import Attempt
from tasks.engine_pool import EnginePool
from tasks.engines import line
from tasks.engines.protocol import Request, Sampling
from tasks.engines.registry import EngineRef
from tasks.engines.worker import Batch, Generate, Open, Opened, serve
from tasks.generation import MAX_ATTEMPTS
from tasks.pose import pose
from tasks.processes import Processes
from tasks.runtime import Runtime
from tasks.sample import sample
from tests.engines.misbehaving_server import MisbehavingServer, later, says, status

DRAW = Sampling(temperature=1.0, max_tokens=20)
COUNT = 12


class Told:
    """Remembers what a run says, and stops it after so many responses."""

    def __init__(self) -> None:
        self.said_: list[str] = []
        self.stop_after: int | None = None

    def advance(self, step: str, done: int, total: int) -> None:
        if self.stop_after is not None and done >= self.stop_after:
            raise KeyboardInterrupt

    def said(self, text: str) -> None:
        self.said_.append(text)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "FIRST_PAUSE", 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    with Processes(tmp_path / "logs", preload=()) as processes:
        runtime = Runtime(Home.open(tmp_path / "home"), processes, workers=2, progress=Told())
        yield runtime
        runtime.close()


@pytest.fixture
def problems(tmp_path: Path, runtime: Runtime) -> Manifest:
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(json.dumps({"question": f"{n}+{n}", "answer": str(2 * n)}) for n in range(COUNT)))
    return pose.function(f"jsonl:{path},question=question,gold=answer", "train", 0, COUNT, COUNT, runtime).manifests[
        "problems"
    ]


def sampled(
    runtime: Runtime, problems: Manifest, server: MisbehavingServer, options: str = "", samples: int = 1
) -> Output:
    return sample.function(
        problems=problems, engine=EngineRef(f"openai:{server.url}?model=m{options}"), checkpoint_id="c" * 32,
        weights_digest="w" * 32, template="plain", sampling=DRAW, first_sample=0, samples=samples, seed=0, runtime=runtime,
    )  # fmt: skip


def attempts(runtime: Runtime, output: Output) -> list[Attempt]:
    return list(runtime.shards.read(output.manifests["attempts"], Attempt))


def place_of(asked) -> int:
    return int(asked.prompt.partition("+")[0].split()[-1].lstrip("Q: ") or 0)


def test_attempts_are_recorded_as_the_served_models_and_the_run_says_once_that_nobody_checked(runtime, problems):
    with MisbehavingServer(lambda asked: says("4")) as server:
        rows = attempts(runtime, sampled(runtime, problems, server))
        sampled(runtime, problems, server, "&concurrency=2")
        assert len(rows) == COUNT
        (name,) = {row.engine for row in rows}
        assert name.startswith(f"openai openai chat m at {server.url}@")
        (said,) = runtime.progress.said_
        assert "nobody can check that it holds the step's checkpoint" in said


def test_a_kill_costs_the_requests_in_flight(runtime, problems):
    with MisbehavingServer(lambda asked: later(0.02, says("4"))) as server:
        runtime.progress.stop_after = 5
        with pytest.raises(KeyboardInterrupt):
            sampled(runtime, problems, server, "&concurrency=2")
        time.sleep(0.2)
        first = len(server.asked)
        assert 5 <= first <= 5 + 2 + 1, "what was left is asked for no longer"
        runtime.progress.stop_after = None
        output = sampled(runtime, problems, server, "&concurrency=2")
        assert len(server.asked) <= COUNT + 3
        assert min(server.times(one.prompt) for one in server.asked) == 1
        assert output.accounting.ok == COUNT


def test_what_was_refused_midway_is_asked_again_and_nothing_else(runtime, problems):
    refusing = threading.Event()
    refusing.set()

    def does(asked):
        return status(401, "this key has expired") if refusing.is_set() and len(server.asked) > 6 else says("4")

    with MisbehavingServer(does) as server:
        with pytest.raises(UserMistake, match="this key has expired"):
            sampled(runtime, problems, server, "&concurrency=1")
        assert len(server.asked) == 7
        refusing.clear()
        assert sampled(runtime, problems, server, "&concurrency=3").accounting.ok == COUNT
        assert len(server.asked) == 7 + COUNT - 6


def test_a_request_that_always_fails_is_given_up_after_as_many_sittings_as_any(runtime, problems):
    def does(asked):
        return status(500, "out of memory") if asked.prompt == poison else says("4")

    with MisbehavingServer(lambda asked: says("4")) as server:
        poison = sorted(row.prompt for row in asked_first(runtime, problems, server))[0]
    with MisbehavingServer(does) as server:
        for _ in range(MAX_ATTEMPTS - 1):
            with pytest.raises(EngineFault, match=r"1 of 12 requests.*out of memory"):
                sampled(runtime, problems, server, "&retries=1")
        output = sampled(runtime, problems, server, "&retries=1")
        assert (output.accounting.ok, output.accounting.failed) == (COUNT - 1, 1)
        assert server.times(poison) == 2 * MAX_ATTEMPTS
        assert len(server.asked) == COUNT - 1 + 2 * MAX_ATTEMPTS
        (failed,) = [row for row in attempts(runtime, output) if row.finish_reason == "failed"]
        assert (failed.tokens, failed.prompt_tokens) == (None, None)
        assert output.facts["uncounted"] == 1


def commit(home: Home, output: Output) -> None:
    """The output as a committed step `1 sample`, in a snapshot that can be read."""
    ledger = Ledger(home)
    run_id = ledger.start_run("served", "test", None, {})
    ledger.commit_steps(
        [StepCommit(run_id, 1, "sample", "1", "key", {"task": "sample"}, False, None, 0.0, 1.0, {}, output)]
    )
    ledger.publish(force=True)
    ledger.close()


def asked_first(runtime, problems, server):
    sampled(runtime, problems, server)
    return server.asked


def test_a_server_that_is_down_counts_against_no_request(runtime, problems):
    with MisbehavingServer(lambda asked: says("4")) as server:
        pass
    for _ in range(MAX_ATTEMPTS + 1):
        with pytest.raises(EngineFault, match="nobody answers there"):
            sampled(runtime, problems, server)
    with MisbehavingServer(lambda asked: says("4"), port=server.port) as again:
        assert sampled(runtime, problems, again).accounting.ok == COUNT


def test_cells_side_by_side_keep_to_one_bound(runtime, problems):
    with MisbehavingServer(lambda asked: later(0.02, says("4"))) as server:
        cells = [
            threading.Thread(target=sampled, args=(runtime, problems, server, "&concurrency=3"), kwargs={"samples": k})
            for k in (1, 2)
        ]
        for cell in cells:
            cell.start()
        for cell in cells:
            cell.join()
        assert server.most == 3


def test_a_cancelled_run_hangs_up(runtime, problems):
    with MisbehavingServer(lambda asked: later(10, says("4"))) as server:
        threading.Timer(0.5, runtime.cancel).start()
        begun = time.monotonic()
        with pytest.raises(EngineFault, match="was closed"):
            sampled(runtime, problems, server)
        assert time.monotonic() - begun < 5


def test_a_step_tells_what_it_cost_and_what_nobody_counted(runtime, problems):
    with MisbehavingServer(lambda asked: says("4", usage=None if "3+3" in asked.prompt else "counted")) as server:
        facts = sampled(runtime, problems, server, "&prompt_price=2&completion_price=10").facts
        assert (facts["prompt_tokens"], facts["tokens"], facts["uncounted"]) == (7 * 11, 3 * 11, 1)
        assert facts["cost"] == pytest.approx((77 * 2 + 33 * 10) / 1e6)
        unpriced = sampled(runtime, problems, server).facts
        assert "cost" not in unpriced


def test_what_a_step_cost_adds_up(runtime, problems):
    with MisbehavingServer(lambda asked: says("4")) as server:
        output = sampled(runtime, problems, server, "&completion_price=10")
    record = type("Record", (), {"output": output, "reused": 0, "startup_s": 0.0})()
    cell = Cell("1 sample", {}, record, False, "")
    figures = StepFigures()
    figures.add(type("Step", (), {"seconds": 1.0})(), [cell, cell])
    assert figures.cost == pytest.approx(2 * 36 * 10 / 1e6)


def test_attempts_that_nobody_counted_are_unknown_in_the_ledger_too(runtime, problems):
    with MisbehavingServer(lambda asked: says("4", usage=None if "3+3" in asked.prompt else "counted")) as server:
        output = sampled(runtime, problems, server)
    commit(runtime.home, output)
    with Lineage.open(runtime.home, fresh=True) as lineage:
        rows = lineage.query("select tokens, prompt_tokens, count(*) from v_attempt group by all order by all").rows
        assert [tuple(row) for row in rows] == [(3, 7, 11), (None, None, 1)]


@pytest.mark.slow
def test_how_patiently_a_server_is_asked_is_no_part_of_a_run_and_no_part_of_a_key(tmp_path):
    ref = "openai:http://127.0.0.1:8000/v1?model=m"
    asked, patiently, otherwise = (
        resolve("star", None, {"engine": engine})
        for engine in (ref, f"{ref}&concurrency=2&wait=900&prompt_price=1", f"{ref}&endpoint=completions")
    )
    code = code_behind(asked)
    assert code_behind(patiently) == code
    assert run_identity("star", asked, code) == run_identity("star", patiently, code)
    assert run_identity("star", asked, code) != run_identity("star", otherwise, code)
    keys = [sample.key({"engine": EngineRef(one.engine), "template": "plain"}) for one in (asked, patiently, otherwise)]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.slow
def test_a_plan_says_that_it_knows_no_cost_where_nothing_was_measured(tmp_path):
    ref = "openai:http://127.0.0.1:8000/v1?model=m"
    settings = {"problems": "addition:1-2", "iterations": 1}
    home = Home.open(tmp_path / "home")
    unpriced = plan("star", resolve("star", "addition-smoke", settings | {"engine": ref}), home, 1)
    assert (unpriced.total.cost.low, unpriced.total.cost.high) == (0, 0)
    priced = plan("star", resolve("star", "addition-smoke", settings | {"engine": f"{ref}&prompt_price=1"}), home, 1)
    assert priced.total.cost is None


@pytest.mark.slow
def test_a_plan_tells_the_cost_by_what_was_measured(runtime, problems):
    """Twelve texts that read 7 and wrote 3 tokens each: so much for each of the attempts that are planned."""
    prices = "&prompt_price=2&completion_price=10"
    with MisbehavingServer(lambda asked: says("4")) as server:
        commit(runtime.home, sampled(runtime, problems, server, prices))
    settings = {"problems": "addition:1-2", "iterations": 1, "engine": f"openai:{server.url}?model=m{prices}"}
    planned = plan("star", resolve("star", "addition-smoke", settings), runtime.home, 1)
    (step,) = [one for one in planned.steps if one.title == "sample"]
    assert step.estimate.attempts.high > 0
    assert step.estimate.cost is not None
    assert step.estimate.cost.high == pytest.approx(step.estimate.attempts.high * (7 * 2 + 3 * 10) / 1e6)
    assert "at a cost of" in in_all(replace(planned, steps=(step,)), None)


def test_a_worker_sends_on_what_a_server_wrote_at_once():
    ours, theirs = Pipe()
    thread = threading.Thread(target=serve, args=(theirs,))
    thread.start()
    with MisbehavingServer(lambda asked: later(0.02, says(asked.prompt))) as server:
        ours.send(Open(f"openai:{server.url}?model=m&concurrency=1", None))
        opened = ours.recv()
        assert isinstance(opened, Opened)
        assert (opened.weights_digest, opened.batched) == (None, False)
        ours.send(Generate([Request(digest(n), str(n)) for n in range(4)], DRAW))
        batches = [ours.recv() for _ in range(4)]
        assert [[one.text for one in batch.responses] for batch in batches if isinstance(batch, Batch)] == [
            [str(n)] for n in range(4)
        ]
        ours.recv()
    ours.close()
    thread.join(timeout=10)
    theirs.close()


def test_a_pool_keeps_the_line_to_a_server_until_the_end(runtime, problems):
    with MisbehavingServer(lambda asked: says("4")) as server:
        pool = EnginePool(runtime.processes, 1, 1)
        ref = f"openai:{server.url}?model=m"
        with pool.lease(ref, Path("a")) as (first, _), pool.lease(ref, Path("a")) as (second, _):
            assert first is second
        pool.close()
        assert [one.text for one in first.generate([Request(digest(0), "?")], DRAW)] == ["4"], (
            "a fine-tune needs no memory of it"
        )
        pool.end()
        with pytest.raises(EngineFault, match="closed"):
            list(first.generate([Request(digest(0), "?")], DRAW))
