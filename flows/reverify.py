"""Reverification: stored attempts judged again by today's code, without generating anything.

Every cell that the ledger says a verifier has judged goes through the same cached task again, so what today's code has
judged before costs nothing. The new verdicts stand beside the old ones; where they differ, `storage.taint` says what
was trained on a verdict that no longer holds, and nothing is retrained by itself.

Not covered: attempts that were stored but never judged, and what a changed verdict would have had generated.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prefect import flow
from prefect.exceptions import TerminationSignal
from pydantic import BaseModel, ConfigDict, Field

from flows.loop import CELLS_SIDE_BY_SIDE, flow_run_id
from flows.progress import Listener, StepDone
from flows.step import Step, accounting_of, note, submit
from flows.watched import watching
from storage.errors import StarloopError, UserMistake
from storage.home import Home
from storage.identity import content_id, show
from storage.judged import JudgedCell, Version, judged_cells, version_of, versions
from storage.ledger import Ledger
from storage.lineage import Lineage
from storage.occupancy import at_work
from storage.shards import Shards
from storage.taint import flips
from tasks.ingredients import verifier_digest
from tasks.processes import Processes
from tasks.runtime import Runtime
from tasks.verifiers.registry import load
from tasks.verify import verify

METHOD = "reverify"


class ReverifyRequest(BaseModel):
    """Which stored attempts to judge again."""

    model_config = ConfigDict(extra="forbid")

    verifier: str | None = Field(
        default=None,
        title="verifier",
        description="whose verdicts to reach again, e.g. sums, or those of one version, sums@3f2a91c0; empty: the run's",
    )
    run: str | None = Field(default=None, title="run", description="only what this run judged; empty: every run")
    home: str | None = Field(
        default=None, title="home", description="folder of the ledger; empty: STARLOOP_HOME or ./.starloop"
    )


def run_name() -> str:
    """What a reverification is called in the Prefect UI."""
    from prefect.runtime import flow_run

    request = flow_run.parameters.get("request")
    given = request if isinstance(request, ReverifyRequest) else ReverifyRequest.model_validate(request or {})
    return f"reverify {given.verifier or 'every verifier'}{f' of {given.run[:12]}' if given.run else ''}"


@flow(name="reverify", flow_run_name=run_name, task_runner=CELLS_SIDE_BY_SIDE)
def reverify(request: ReverifyRequest) -> str:
    """Judge stored attempts again with today's verifiers; returns the id of the run that holds the new verdicts.

    Args:
        request: whose verdicts to reach again, and of which run
    """
    home = Home.open(Path(request.home) if request.home else None)
    chosen = selection(home, request)
    with at_work(home), watching(home) as told, _recorded(home, chosen, told) as reverification:
        for (iteration, title), cells in _steps(chosen.cells):
            reverification.judge(iteration, title, cells)
    return chosen.run_id


@dataclass(frozen=True, slots=True)
class Selection:
    """What is judged again, and as which run: the same cells by the same code are the same run."""

    run_id: str
    name: str
    cells: tuple[JudgedCell, ...]
    lost: int
    settings: dict[str, object]


def selection(home: Home, request: ReverifyRequest) -> Selection:
    """The cells that a request means. Raises UserMistake where there are none, naming the verifiers there are."""
    wanted = Version.parse(request.verifier) if request.verifier else None
    with Lineage.open(home, fresh=True) as lineage:
        run = lineage.run(lineage.find(request.run, ("run",)).id) if request.run else None
        if wanted is None and run is None:
            what = "say whose verdicts to reach again with --verifier, or of which run with --run"
            raise UserMistake(f"{what}; {_known(lineage)}")
        found = judged_cells(lineage, wanted, run.run_id if run else None)
        if not found:
            who, where = wanted or "a verifier", f" in run {show('run', run.run_id)}" if run else ""
            raise UserMistake(f"there is no verdict by {who}{where}; {_known(lineage)}")
    cells = list({(cell.verifier, cell.problems, cell.attempts): cell for cell in reversed(found)}.values())[::-1]
    shards = Shards(home)
    stored = tuple(cell for cell in cells if shards.exists(cell.problems) and shards.exists(cell.attempts))
    if not stored:
        raise UserMistake(f"none of the {len(cells)} cells of attempts to judge again is stored any more")
    code: dict[str, str] = {}
    for verifier in sorted({cell.verifier for cell in stored}):
        load(verifier)
        code[verifier] = verifier_digest(verifier)
    settings: dict[str, object] = {
        "verifier": str(wanted) if wanted else None,
        "run": run.run_id if run else None,
        "versions": [version_of(verifier, digest) for verifier, digest in code.items()],
    }
    judged = [[cell.verifier, list(cell.problems.shards), list(cell.attempts.shards)] for cell in stored]
    return Selection(
        content_id("run", method=METHOD, settings=settings, code=code, cells=judged),
        ", ".join(str(version) for version in code),
        stored,
        len(cells) - len(stored),
        settings,
    )


def _known(lineage: Lineage) -> str:
    known = versions(lineage)
    return f"there are verdicts by: {', '.join(known)}" if known else "there are no verdicts yet"


def _steps(cells: Sequence[JudgedCell]) -> list[tuple[tuple[int, str], list[JudgedCell]]]:
    """The cells by the step that first judged them, verifier by verifier."""
    steps: dict[tuple[int, str], list[JudgedCell]] = {}
    several = len({cell.verifier for cell in cells}) > 1
    for cell in cells:
        title = f"{cell.step} by {cell.verifier}" if several else cell.step
        steps.setdefault((cell.iteration, title), []).append(cell)
    return sorted(steps.items())


class _Reverification:
    """One run of the flow: submits cells, writes the ledger."""

    def __init__(self, run_id: str, ledger: Ledger, runtime: Runtime, told: Listener) -> None:
        self._run_id = run_id
        self._ledger = ledger
        self._runtime = runtime
        self._listener = told
        self.attempts = 0
        self.cached = 0
        self.cells = 0

    def judge(self, iteration: int, title: str, cells: Sequence[JudgedCell]) -> None:
        """One step's cells, into the ledger; raises what a cell raised, once the others are safe."""
        self._runtime.check_cancelled()
        self._listener.step_started(iteration, title, len(cells))
        calls = [{"problems": one.problems, "attempts": one.attempts, "verifier": one.verifier} for one in cells]
        step = Step(iteration, title, calls, submit(iteration, title, verify, calls, self._runtime))
        done = step.collect()
        self._ledger.commit_steps([cell.commit(self._run_id, step) for cell in done])
        if step.fault is not None:
            raise step.fault
        cached = sum(cell.hit for cell in done)
        self.cells += len(done)
        self.cached += cached
        self.attempts += sum(cell.record.output.accounting.asked for cell in done)
        total = note(accounting_of([cell.record for cell in done]))
        self._listener.step_done(StepDone(iteration, title, len(done), cached, step.seconds, total))


@contextmanager
def _recorded(home: Home, chosen: Selection, told: Listener) -> Iterator[_Reverification]:
    """The run, from its first event to its last; however it ends is written down."""
    begun = time.monotonic()
    ledger = Ledger(home)
    runtime = Runtime(home, Processes(home.logs), progress=told)
    ledger.start_run(
        chosen.name, METHOD, None, chosen.settings, run_id=chosen.run_id, prefect_flow_run_id=flow_run_id()
    )
    told.said(f"run {show('run', chosen.run_id)} in {home.root}")
    if chosen.lost:
        told.said(f"{chosen.lost} cells are left out: their attempts are no longer stored")
    reverification = _Reverification(chosen.run_id, ledger, runtime, told)
    state, why = "failed", ""
    try:
        yield reverification
        state = "completed"
        ledger.publish(force=True)
        with Lineage.open(home) as lineage:
            why = f"{reverification.attempts:,} attempts judged again, {len(flips(lineage, chosen.run_id)):,} flips"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | TerminationSignal):
            runtime.cancel()
        state = "cancelled" if runtime.cancelled.is_set() else "failed"
        why = str(error) if isinstance(error, StarloopError) else f"{type(error).__name__}: {error}"
        raise
    finally:
        facts = {
            "why": why,
            "attempts": reverification.attempts,
            "cells": reverification.cells,
            "cells_cached": reverification.cached,
            "wall_s": round(time.monotonic() - begun, 3),
        }
        runtime.close()
        ledger.finish_run(chosen.run_id, state=state, facts=facts)
        ledger.publish(force=True)
        ledger.close()
