"""One loop as it runs: submits the steps' cells, waits, checks the accounting, writes the ledger, tells MLflow.

Methods build on `flows.iteration`; what is here knows nothing of any method.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from prefect.context import get_run_context
from prefect.exceptions import MissingContextError
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows.config import LoopConfig
from flows.progress import IterationDone, Listener, StepDone
from flows.tracker import Tracker
from storage.errors import AccountingError, StarloopError
from storage.home import Home
from storage.identity import content_id, show
from storage.ledger import Ledger, StepCommit
from storage.records import Accounting, Manifest
from tasks.caching import CachedTask, StepRecord, unbalanced
from tasks.processes import Processes
from tasks.runtime import Runtime

CELLS_SIDE_BY_SIDE: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=4)
"""Cells that are submitted together run in threads; the work itself is in child processes."""


class BudgetReached(StarloopError):
    """A limit that the user set was reached; what was made is kept."""


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint in use: its id, and the digest of the weights that an engine must have loaded.

    `kind` is full or adapter; an adapter names its base.
    """

    checkpoint_id: str
    weights_digest: str
    kind: str = "full"
    base_checkpoint_id: str | None = None


@dataclass
class Figures:
    """What an iteration adds up to while its steps come in."""

    tasks_run: int = 0
    tasks_cached: int = 0
    tokens: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    startup_s: float = 0.0
    begun: float = field(default_factory=time.monotonic)


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
    ) -> None:
        self.method = method
        self.config = config
        self.runtime = runtime
        self.listener = listener
        self.run_id = run_id
        self.tracker = tracker
        self.outcome: dict[str, Any] = {}
        self.figures: dict[int, Figures] = {}
        self.tokens = 0
        self._ledger = ledger
        self._committer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        self._commits: list[Future[list[str]]] = []
        self._begun = time.monotonic()

    def run(self, iteration: int, title: str, task: CachedTask, calls: Sequence[dict[str, Any]]) -> list[StepRecord]:
        """Every cell of a step, in order: submitted together, ingested when all are there.

        Raises what a cell raised (the others are finished first, so nothing done is lost), AccountingError, and BudgetReached
        before it starts.
        """
        self._check_budget()
        figures = self.figures.setdefault(iteration, Figures())
        begun = time.monotonic()
        self.listener.step_started(iteration, title, len(calls))
        prefix = f"{iteration} {title}"
        names = [prefix if len(calls) == 1 else f"{prefix} {place}/{len(calls)}" for place in range(1, len(calls) + 1)]
        handles = [task.submit(name, self.runtime, **call) for name, call in zip(names, calls, strict=True)]
        records: list[StepRecord] = []
        commits: list[StepCommit] = []
        fault: Exception | None = None
        for handle, call, name in zip(handles, calls, names, strict=True):
            try:
                record = handle.result()
            except Exception as error:  # noqa: BLE001 - raised below, once the finished cells are safe in the ledger
                fault = fault or error
                continue
            hit = handle.hit(record)
            figures.tasks_cached += hit
            figures.tasks_run += not hit
            figures.tokens += int(str(record.output.facts.get("tokens", 0)))
            if not hit:
                figures.startup_s += record.startup_s
            records.append(record)
            commits.append(
                StepCommit(
                    run_id=self.run_id,
                    iteration=iteration,
                    name=title,
                    cell=name,
                    cache_key=record.key,
                    key_parts=record.key_parts,
                    hit=hit,
                    prefect_task_run_id=handle.task_run_id,
                    startup_s=0.0 if hit else record.startup_s,
                    work_s=0.0 if hit else record.work_s,
                    inputs=manifests_in(call),
                    output=record.output,
                )
            )
        self._commit(commits)
        if fault is not None:
            raise fault
        for record in records:
            if not record.output.accounting.balanced:
                raise AccountingError(unbalanced(title, record.output.accounting))
        self.tokens += sum(int(str(record.output.facts.get("tokens", 0))) for record in records)
        seconds = time.monotonic() - begun
        figures.seconds[title] = figures.seconds.get(title, 0.0) + seconds
        cached = sum(commit.hit for commit in commits)
        self.listener.step_done(StepDone(iteration, title, len(calls), cached, seconds, _note(title, records)))
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
            "held_out_undecided": dev["undecided"],
            **NOTHING_GATHERED,
            **extra,
            "checkpoint_id": model.checkpoint_id,
            "tasks_run": figures.tasks_run,
            "tasks_cached": figures.tasks_cached,
            "tokens": figures.tokens,
            "startup_s": round(figures.startup_s, 3),
            "seconds": {title: round(seconds, 3) for title, seconds in figures.seconds.items()},
            "wall_s": round(time.monotonic() - figures.begun, 3),
        }
        self.settle()
        self._ledger.record("iteration_finished", {"run_id": self.run_id, **summary})
        self._ledger.publish()
        self.tracker.iteration(summary, model.checkpoint_id, model.kind, model.base_checkpoint_id)
        self.listener.iteration_done(IterationDone(summary))
        return summary

    def final_test(self, base: dict[str, Any], final: dict[str, Any]) -> None:
        """The two looks at the test split that a loop is judged by."""
        self.outcome = {
            "base_accuracy": base["accuracy"],
            "final_accuracy": final["accuracy"],
            "base_test": base,
            "final_test": final,
        }

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
        self._commits.append(self._committer.submit(self._ledger.commit_steps, commits))

    def ended(self) -> dict[str, Any]:
        """The run's last figures."""
        return self.outcome | {"tokens": self.tokens, "wall_s": round(time.monotonic() - self._begun, 3)}

    def _check_budget(self) -> None:
        self.runtime.check_cancelled()
        stop = self.config.stop
        if stop.max_tokens is not None and self.tokens >= stop.max_tokens:
            raise BudgetReached(
                f"stopped at {self.tokens} generated tokens (the limit was {stop.max_tokens}); give more to go on"
            )
        hours = (time.monotonic() - self._begun) / 3600
        if stop.max_hours is not None and hours >= stop.max_hours:
            raise BudgetReached(f"stopped after {hours:.2f} hours (the limit was {stop.max_hours}); give more to go on")


PRESENTATION = {"name", "model_name", "iterations", "stop", "arms"}
"""Settings that change no result of an iteration: the same run goes on under others."""


def run_identity(method: str, config: LoopConfig, code: dict[str, object]) -> str:
    """What a run is: its method, its settings, and the code that they stand for. Started again, it goes on."""
    settings = config.model_dump(mode="json", exclude=PRESENTATION)
    return content_id("run", method=method, settings=settings, code=code)


def manifests_in(call: dict[str, Any]) -> dict[str, Manifest]:
    """The manifests among a call's arguments, by parameter name; those inside tuples of records are numbered."""
    found: dict[str, Manifest] = {}
    for name, value in call.items():
        if isinstance(value, Manifest):
            found[name] = value
        elif isinstance(value, tuple):
            for place, part in enumerate(value):
                for field_name in getattr(part, "__slots__", ()):
                    if isinstance(inner := getattr(part, field_name), Manifest):
                        found[f"{name}.{place}.{field_name}"] = inner
    return found


def joined(records: Sequence[StepRecord], role: str) -> Manifest:
    """One manifest of a role over the cells of a step."""
    first, *rest = [record.output.manifests[role] for record in records]
    return sum(rest, start=first)


def accounting_of(records: Sequence[StepRecord]) -> Accounting:
    """The accounting of a step over its cells."""
    return sum((record.output.accounting for record in records), start=Accounting(0, 0))


def _note(title: str, records: Sequence[StepRecord]) -> str:
    total = accounting_of(records)
    parts = [f"{total.ok:,} of {total.asked:,}"]
    if total.undecided:
        parts.append(f"{total.undecided:,} undecided")
    if total.failed:
        parts.append(f"{total.failed:,} failed")
    del title
    return ", ".join(parts)


@contextmanager
def loop_of(
    method: str,
    preset: str | None,
    config: LoopConfig,
    code: dict[str, object],
    runtime: Runtime,
    ledger: Ledger,
    listener: Listener,
    parent_run_id: str | None = None,
) -> Iterator[Loop]:
    """A run from its first event to its last; however it ends is written down.

    A reached budget ends it as `stopped`, without an error. Anything else is raised on after it is recorded.
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
    tracker = Tracker(runtime, run_id, config.model_name or f"{config.problems.partition(':')[0]}-{method}")
    tracker.loop(name, method, preset, settings)
    loop = Loop(method, config, runtime, ledger, listener, run_id, tracker)
    listener.said(f"run {show('run', run_id)} in {runtime.home.root}")
    state, why = "failed", ""
    try:
        yield loop
        loop.settle()
        state = "completed"
    except BudgetReached as limit:
        state, why = "stopped", str(limit)
        listener.said(why)
    except BaseException as error:
        state = "cancelled" if runtime.cancelled.is_set() else "failed"
        why = f"{type(error).__name__}: {error}" if not isinstance(error, StarloopError) else str(error)
        raise
    finally:
        loop.close_ledger()
        ledger.finish_run(run_id, state=state, facts={"why": why, **loop.ended()})
        for warning in tracker.finish(state, loop.outcome, max(loop.figures, default=0)):
            listener.said(warning)
        ledger.publish(force=True)


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
    from prefect.exceptions import TerminationSignal

    with Processes(home.logs) as processes:
        processes.start()
        runtime = Runtime(home, processes, workers=workers, threads=threads, progress=listener)
        try:
            yield runtime
        except (KeyboardInterrupt, TerminationSignal):
            runtime.cancel()
            raise
        finally:
            runtime.engines.close()
