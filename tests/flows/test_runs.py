"""A flow's runs around their loops: one budget for all arms, what a cancel leaves behind, and what MLflow is told."""

import time
from dataclasses import dataclass

import pytest
from prefect.exceptions import TerminationSignal

from flows.budget import Budget, BudgetReached
from flows.config import StopConfig
from flows.method_config import StarConfig
from flows.progress import SilentListener
from flows.request import Runs, StarRequest
from flows.step import Step
from flows.tracker import Tracker
from storage.home import Home
from storage.ledger import Ledger
from storage.lineage import Lineage
from storage.manifest import Accounting, Output
from tasks.caching import StepRecord
from tasks.outbox import Outbox
from tasks.pose import pose
from tasks.processes import Processes
from tasks.runtime import Runtime
from tasks.tracking_messages import Iteration, Registration

ARMS = {"arms": [{"name": name, "set": {"seed": seed}} for seed, name in enumerate("abc")]}
OWN_LIMIT = {"arms": [{"name": "a", "set": {"stop": {"max_tokens": 5}}}, {"name": "b", "set": {"seed": 1}}]}


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens: a delivery ends at once
    with Processes(tmp_path / "logs", preload=()) as processes:
        yield Runtime(Home.open(tmp_path / "home"), processes)


@pytest.fixture
def runs(runtime):
    ledger = Ledger(runtime.home)

    def make(overrides):
        asked = StarRequest.model_validate({"preset": "addition-smoke", "overrides": overrides})
        return Runs("star", asked, runtime.home, runtime, ledger, SilentListener())

    yield make
    ledger.close()


@dataclass
class Done:
    """A handle of a cell that is there, and took so many tokens."""

    key: str
    tokens: int
    task_run_id: str = ""

    def result(self):
        facts = {"tokens": self.tokens}
        return StepRecord(Output({}, Accounting(1, ok=1), facts), "sample", self.key, {}, "", 0.0, 0.0)

    def hit(self, record):
        return record is None


def sampled(loop, tokens, key="key"):
    """The loop finishes a cell that took so many tokens."""
    loop.finish(Step(1, "sample", [{}], [("1 sample", Done(key, tokens))]))


def states(home):
    with Lineage.open(home, fresh=True) as lineage:
        return {run.name: run.state for run in lineage.runs()}


def work_through(runs, tokens):
    """Every arm generates so many tokens, and then wants to go on."""
    begun = []
    for config in runs.configurations(StarConfig):
        begun.append(config.name)
        with runs.loop(config) as loop:
            sampled(loop, tokens, f"key of {config.name}")
            loop.run(2, "problems", pose, [])
    return begun


def interrupted(runs, error):
    """The first arm raises this."""
    for config in runs.configurations(StarConfig):
        with runs.loop(config):
            raise error


def test_a_limit_counts_all_arms_together_and_ends_them_all(runs, runtime):
    assert work_through(runs(ARMS | {"stop": {"max_tokens": 20}}), 12) == ["a", "b"]
    assert states(runtime.home) == {"addition-smoke": "stopped", "a": "completed", "b": "stopped"}


def test_an_arms_own_limit_ends_that_arm(runs, runtime):
    assert work_through(runs(OWN_LIMIT), 12) == ["a", "b"]
    assert states(runtime.home) == {"addition-smoke": "completed", "a": "stopped", "b": "completed"}


def test_what_two_arms_share_counts_once():
    budget = Budget(StopConfig(max_tokens=20))
    for _ in range(2):
        budget.spend("the base's answers", 12)
        budget.check()
    budget.spend("others", 8)
    with pytest.raises(BudgetReached, match=r"stopped at 20 generated tokens \(the limit was 20\); give more to go on"):
        budget.check()


def test_the_clock_is_a_limit_too():
    with pytest.raises(BudgetReached, match="hours"):
        Budget(StopConfig(max_hours=1e-12)).check()


@pytest.mark.parametrize("signal", [KeyboardInterrupt, lambda: TerminationSignal(signal=15)])
def test_a_run_that_is_told_to_stop_is_cancelled_at_once(runs, runtime, signal):
    asked = runs(ARMS)
    stopped = signal()
    begun = time.monotonic()
    with pytest.raises(type(stopped)):
        interrupted(asked, stopped)
    assert time.monotonic() - begun < 20  # no wait for MLflow
    assert runtime.cancelled.is_set()
    assert runtime.processes.cancelled.is_set()
    assert states(runtime.home) == {"addition-smoke": "cancelled", "a": "cancelled"}


def test_a_run_that_breaks_down_is_failed(runs, runtime):
    asked = runs({})
    with pytest.raises(ZeroDivisionError):
        interrupted(asked, ZeroDivisionError("a mistake of ours"))
    assert states(runtime.home) == {"addition-smoke": "failed"}


def summary(number, **figures):
    return {
        "iteration": number, "held_out_accuracy": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 10, "strata": {}, "seconds": {},
        "kept": 0, "rationalized_kept": 0, "attempts": 0, "correct": 0, "tasks_run": 1, "tokens": 0, **figures,
    }  # fmt: skip


def told(runtime, kind):
    outbox = Outbox(runtime.home.root)
    return [said for name in outbox.names() if isinstance(said := outbox.read(name), kind)]


@pytest.mark.parametrize(("candidates", "aliases"), [(True, [None, "candidate"]), (False, [None, None])])
def test_only_what_learned_from_right_examples_is_a_candidate(runtime, candidates, aliases):
    runtime.cancelled.set()  # nothing is to be delivered here
    tracker = Tracker(runtime, "r" * 32, "addition-star", candidates=candidates)
    for number in (0, 1):
        tracker.iteration(summary(number), f"{number}" * 32, "full", None)
    assert [one.alias for one in told(runtime, Registration)] == aliases


def test_controls_are_no_candidates():
    assert StarConfig().learns_from_what_passed
    assert not any(StarConfig(train_on=what).learns_from_what_passed for what in ("everything", "answers", "corpus"))


def test_the_yield_is_this_iterations_own(runtime):
    """With `pool = all`, what is kept comes from earlier iterations as well."""
    runtime.cancelled.set()
    tracker = Tracker(runtime, "r" * 32, "addition-star")
    figures = {"attempts": 40, "correct": 10, "rationalized_correct": 5, "kept": 90}
    tracker.iteration(summary(2, **figures), "a" * 32, "full", None)
    (said,) = told(runtime, Iteration)
    assert said.metrics["yield"] == pytest.approx(15 / 40)
