"""One loop as it runs: submits the steps' cells, waits, checks the accounting, writes the ledger, tells MLflow.

Methods build on `flows.iteration`; what is here knows nothing of any method.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from prefect.context import get_run_context
from prefect.exceptions import MissingContextError, TerminationSignal
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.budget import Budget, BudgetReached
from flows.config import LoopConfig
from flows.machine import cells_side_by_side
from flows.progress import IterationDone, Listener, RunDone, StepDone
from flows.refs import run_identity
from flows.step import Figures, Model, Step, accounting_of, note, submit
from flows.tracker import Tracker, registered_name
from storage.errors import AccountingError, StarloopError
from storage.faults import reached
from storage.home import Home
from storage.identity import show
from storage.ledger import Ledger, StepCommit
from tasks.caching import CachedTask, StepRecord, unbalanced
from tasks.pretrained import Found
from tasks.pretrained import find as find_model
from tasks.processes import Processes
from tasks.runtime import Runtime

CELLS_SIDE_BY_SIDE: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=cells_side_by_side())
"""Cells that are submitted together run in threads; the work itself is in child processes."""


NOTHING_GATHERED: dict[str, Any] = {
    "attempts": 0,
    "correct": 0,
    "kept": 0,
    "rationalized_kept": 0,
    "undecided": 0,
    "failed": 0,
    "train_rows": 0,
    "original_share": 0.0,
    "train_accuracy": None,
}
"""An iteration's figures before any step adds to them."""


class Loop:
    """A run of one configuration. Made by `loop_of`."""

    def __init__(
        self,
        method: str,
        config: LoopConfig,
        runtime: Runtime,
        ledger: Ledger,
        listener: Listener,
        run_id: str,
        tracker: Tracker,
        budgets: Sequence[Budget],
    ) -> None:
        self.method = method
        self.config = config
        self.runtime = runtime
        self.listener = listener
        self.run_id = run_id
        self.tracker = tracker
        self.outcome: dict[str, Any] = {"correctness": config.correctness} if config.correctness else {}
        self.figures: dict[int, Figures] = {}
        self.tokens = 0
        self._budgets = budgets
        self._ledger = ledger
        self._committer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._commits: list[Future[list[str]]] = []
        self._begun = time.monotonic()

    def run(self, iteration: int, title: str, task: CachedTask, calls: Sequence[dict[str, Any]]) -> list[StepRecord]:
        """Every cell of a step, in order: `finish(start(…))`."""
        return self.finish(self.start(iteration, title, task, calls))

    def start(self, iteration: int, title: str, task: CachedTask, calls: Sequence[dict[str, Any]]) -> Step:
        """Submit every cell of a step; whatever else the loop does meanwhile runs beside it. Raises BudgetReached."""
        self._check_budget()
        self.listener.step_started(iteration, title, len(calls))
        return Step(iteration, title, calls, submit(iteration, title, task, calls, self.runtime))

    def finish(self, step: Step) -> list[StepRecord]:
        """The records of every cell, in order, once all are there and on their way into the ledger.

        Raises what a cell raised (after the others are finished, so nothing done is lost), and AccountingError.
        """
        done = step.collect()
        self._commit([cell.commit(self.run_id, step) for cell in done])
        if step.fault is not None:
            raise step.fault
        for cell in done:
            if not cell.record.output.accounting.balanced:
                raise AccountingError(unbalanced(step.title, cell.record.output.accounting))
        figures = self.figures.setdefault(step.iteration, Figures())
        figures.add(step, done)
        self.tokens += sum(cell.tokens for cell in done)
        for budget in self._budgets:
            for cell in done:
                budget.spend(cell.record.key, cell.tokens)
        cached = sum(cell.hit for cell in done)
        records = [cell.record for cell in done]
        self.listener.step_done(
            StepDone(step.iteration, step.title, len(done), cached, step.seconds, note(accounting_of(records)))
        )
        return records

    def close(self, iteration: int, model: Model, dev: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        """Write down an iteration's figures, publish the snapshot, and hand figures and checkpoint to MLflow."""
        figures = self.figures.setdefault(iteration, Figures())
        summary = {
            "iteration": iteration,
            "held_out_accuracy": dev["accuracy"],
            "ci_low": dev["ci_low"],
            "ci_high": dev["ci_high"],
            "n": dev["n"],
            "strata": dev["strata"],
            **({"mean_score": dev["mean_score"]} if "mean_score" in dev else {}),
            "held_out_undecided": dev["undecided"],
            **NOTHING_GATHERED,
            **({"correctness": self.config.correctness} if self.config.correctness else {}),
            **extra,
            "checkpoint_id": model.checkpoint_id,
            "tasks_run": figures.tasks_run,
            "tasks_cached": figures.tasks_cached,
            "tokens": figures.tokens,
            **({"cost": round(figures.cost, 6)} if figures.cost else {}),
            "startup_s": round(figures.startup_s, 3),
            "seconds": {title: round(step.seconds, 3) for title, step in figures.steps.items()},
            "wall_s": round(time.monotonic() - figures.begun, 3),
        }
        self.settle()
        reached("iteration-before-record")
        self._ledger.record("iteration_finished", {"run_id": self.run_id, **summary})
        reached("iteration-after-record")
        self._ledger.publish()
        self.tracker.iteration(summary, model.checkpoint_id, model.kind, model.base_checkpoint_id)
        self.listener.iteration_done(IterationDone(summary))
        return summary

    def find_model(self, source: str) -> Found:
        """The model that a source names, fetched if need be."""
        return find_model(source)

    def place(self, zone: dict[str, Any]) -> None:
        """Where the base lies: whether this is the right model for the task."""
        self.outcome["zone"] = zone

    def final_test(
        self, base: dict[str, Any], final: dict[str, Any], also: tuple[dict[str, Any], dict[str, Any]] | None = None
    ) -> None:
        """The two looks at the test split that a loop is judged by; `also` the same on what must not get worse."""
        self.outcome |= {
            "base_accuracy": base["accuracy"],
            "final_accuracy": final["accuracy"],
            "base_test": base,
            "final_test": final,
        }
        if also is not None:
            self.outcome |= {"base_also": also[0], "final_also": also[1]}

    def settle(self) -> None:
        """Wait until every step that is done is in the ledger; raises what kept one out."""
        waiting, self._commits = self._commits, []
        for commit in waiting:
            commit.result()

    def close_ledger(self) -> None:
        """Take in what is still under way, whatever became of the run."""
        self._committer.shutdown(wait=True)

    def _commit(self, commits: list[StepCommit]) -> None:
        """Into the ledger while the next step runs; at most one step behind."""
        self.settle()
        self._commits.append(self._committer.submit(self._take_in, commits))

    def _take_in(self, commits: list[StepCommit]) -> list[str]:
        """The steps that were new; readers see them as soon as showing them costs less than a fiftieth of the time."""
        taken = self._ledger.commit_steps(commits)
        self._ledger.publish()
        return taken

    def ended(self) -> dict[str, Any]:
        """The run's last figures."""
        imported = sum(self.runtime.processes.seconds.get(stage, 0.0) for stage in ("engine", "training"))
        return self.outcome | {
            "import_s": round(imported, 3),
            "iterations": max(self.figures, default=0),
            "steps": [
                {"iteration": iteration, "step": title, **asdict(figures)}
                for iteration, whole in sorted(self.figures.items())
                for title, figures in whole.steps.items()
            ],
            "tokens": self.tokens,
            **({"cost": round(cost, 6)} if (cost := sum(one.cost for one in self.figures.values())) else {}),
            "wall_s": round(time.monotonic() - self._begun, 3),
        }

    def _check_budget(self) -> None:
        self.runtime.check_cancelled()
        for budget in self._budgets:
            budget.check()


@contextmanager
def loop_of(
    method: str,
    preset: str | None,
    config: LoopConfig,
    code: dict[str, object],
    runtime: Runtime,
    ledger: Ledger,
    listener: Listener,
    budgets: Sequence[Budget] = (),
    parent_run_id: str | None = None,
) -> Iterator[Loop]:
    """A run from its first event to its last; however it ends is written down.

    A reached budget ends it as `stopped`, without an error. Being told to stop kills the children at once and ends it as
    `cancelled`. That, and anything else, is raised on after it is recorded.
    """
    name = config.name or preset or method
    settings = config.model_dump(mode="json")
    run_id = ledger.start_run(
        name,
        method,
        preset,
        settings,
        run_id=run_identity(method, config, code),
        parent_run_id=parent_run_id,
        prefect_flow_run_id=flow_run_id(),
    )
    tracker = Tracker(runtime, run_id, registered_name(method, config), candidates=config.learns_from_what_passed)
    tracker.loop(name, method, preset, settings, flow_run_id(), correctness=config.correctness)
    reached("run-after-start")
    loop = Loop(method, config, runtime, ledger, listener, run_id, tracker, budgets)
    listener.said(f"run {show('run', run_id)} in {runtime.home.root}")
    state, why = "failed", ""
    try:
        yield loop
        loop.settle()
        state = "completed"
    except BudgetReached as limit:
        state, why = "stopped", str(limit)
        listener.said(why)
    except (KeyboardInterrupt, TerminationSignal):
        runtime.cancel()
        state, why = "cancelled", "stopped by hand; the same command goes on from there"
        raise
    except BaseException as error:
        state = "cancelled" if runtime.cancelled.is_set() else "failed"
        why = f"{type(error).__name__}: {error}" if not isinstance(error, StarloopError) else str(error)
        raise
    finally:
        loop.close_ledger()
        reached("run-before-finish")
        ledger.finish_run(run_id, state=state, facts={"why": why, **loop.ended()})
        reached("run-after-finish")
        for warning in tracker.finish(state, loop.outcome, max(loop.figures, default=0)):
            listener.said(warning)
        ledger.publish(force=True)
        listener.run_done(RunDone(run_id, state, why))


def flow_run_id() -> str | None:
    """The Prefect flow run this is inside of."""
    try:
        context = get_run_context()
    except MissingContextError:
        return None
    flow_run = getattr(context, "flow_run", None)
    return str(flow_run.id) if flow_run else None


@contextmanager
def runtime_of(home: Home, listener: Listener, *, workers: int, threads: int) -> Iterator[Runtime]:
    """A run's means, from the first child process to the last. Being told to stop ends all of them at once."""
    with Processes(home.logs) as processes:
        runtime = Runtime(home, processes, workers=workers, threads=threads, progress=listener)
        try:
            yield runtime
        except (KeyboardInterrupt, TerminationSignal):
            runtime.cancel()
            raise
        finally:
            runtime.close()
