"""Who is told what a run does while it does it: a terminal, or the log of a Prefect run."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from tasks.runtime import Progress


@dataclass(frozen=True, slots=True)
class StepDone:
    """A step all of whose cells are there. `seconds` is wall time; `note` is its accounting in a few words."""

    iteration: int
    title: str
    cells: int
    cached: int
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class IterationDone:
    """One iteration's figures, as `starloop status --json` gives them."""

    summary: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunDone:
    """A run that ended, however it did."""

    run_id: str
    state: str
    why: str = ""


class Listener(Progress, Protocol):
    """Told of everything. Calls to `advance` and `said` come from task threads too, the others from the flow's."""

    def step_started(self, iteration: int, title: str, cells: int) -> None: ...

    def step_done(self, step: StepDone) -> None: ...

    def iteration_done(self, iteration: IterationDone) -> None: ...

    def run_done(self, run: RunDone) -> None: ...


class SilentListener:
    """Tells nobody."""

    def said(self, text: str) -> None:
        del text

    def step_started(self, iteration: int, title: str, cells: int) -> None:
        del iteration, title, cells

    def step_done(self, step: StepDone) -> None:
        del step

    def iteration_done(self, iteration: IterationDone) -> None:
        del iteration

    def run_done(self, run: RunDone) -> None:
        del run

    def advance(self, step: str, done: int, total: int) -> None:
        del step, done, total


class LogListener:
    """Tells the log of the Prefect flow run it is made in."""

    def __init__(self) -> None:
        from prefect.logging import get_run_logger

        self._logger = get_run_logger()

    def said(self, text: str) -> None:
        self._logger.info(text)

    def step_started(self, iteration: int, title: str, cells: int) -> None:
        del iteration, title, cells

    def step_done(self, step: StepDone) -> None:
        cached = " (cached)" if step.cached == step.cells else ""
        self._logger.info("%d %s%s: %.1f s %s", step.iteration, step.title, cached, step.seconds, step.note)

    def iteration_done(self, iteration: IterationDone) -> None:
        accuracy = iteration.summary.get("held_out_accuracy")
        shown = "undecided" if accuracy is None else f"{accuracy:.1%}"
        self._logger.info("iteration %s: held-out accuracy %s", iteration.summary.get("iteration"), shown)

    def run_done(self, run: RunDone) -> None:
        self._logger.info("%s%s", run.state, f": {run.why}" if run.why else "")

    def advance(self, step: str, done: int, total: int) -> None:
        del step, done, total
