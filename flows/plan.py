"""What a run would do before it does it: which steps are there, which would run, why, and what that would cost.

Estimates are ranges, from what this home has measured: tokens and seconds a row of the same step, seconds an optimizer
step of the same training. Where nothing was measured nothing is estimated, and that is said.
"""

import json
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.budget import BudgetReached
from flows.config import LoopConfig
from flows.differences import OUTSIDE
from flows.expected import NOTHING, Span
from flows.methods import loop_of_method
from flows.refs import code_behind, run_identity, settled
from flows.rehearsal import DEPENDS, HIT, RUN, PlannedCell, Rehearsal, onlooker
from storage.history import Done, History
from storage.home import Home, atomic_write
from storage.lineage import Lineage
from tasks.engines.protocol import Prices
from tasks.engines.registry import prices

GENERATING = frozenset({
    "sample", "rationalize", "propose", "critique", "refine", "check", "propose_instructions", "classify_instructions", "make_instances",
})  # fmt: skip
TRAINING = "finetune"
NEW = "nothing like it was done here before"


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a step will take; None where nothing was measured. `tokens` are generated ones, `seconds` wall time.

    `cost` is that of the engine's tokens at the prices its ref gives, of those that are read as well; nothing without prices.
    """

    attempts: Span = NOTHING
    tokens: Span | None = NOTHING
    seconds: Span | None = NOTHING
    cost: Span | None = NOTHING

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(
            self.attempts + other.attempts,
            _sum(self.tokens, other.tokens),
            _sum(self.seconds, other.seconds),
            _sum(self.cost, other.cost),
        )


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step of a run (an `arm` of several has a name): how many of its cells are there, would run, or depend on others, and why."""

    run_id: str
    arm: str
    iteration: int
    title: str
    hit: int
    run: int
    depends: int
    waits_for: tuple[str, ...]
    because: tuple[str, ...]
    outside: tuple[str, ...]
    estimate: Estimate

    @property
    def cells(self) -> int:
        return self.hit + self.run + self.depends


@dataclass(frozen=True, slots=True)
class Plan:
    """A run's steps in order. `run_ids` are the runs it is for; `assumed` what could not be looked up here, in sentences."""

    method: str
    run_ids: tuple[str, ...]
    steps: tuple[PlannedStep, ...]
    assumed: tuple[str, ...] = ()

    @property
    def total(self) -> Estimate:
        return sum((step.estimate for step in self.steps), start=Estimate())

    def count(self, state: str) -> int:
        """How many cells are in a state."""
        return sum(getattr(step, state) for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, as `starloop plan --json` prints it."""
        return asdict(self) | {
            "total": asdict(self.total),
            "cells": {name: self.count(name) for name in (HIT, RUN, DEPENDS)},
        }


def plan(method: str, config: LoopConfig, home: Home, workers: int) -> Plan:
    """Every arm's steps, as they would go from here."""
    history = History.of(home)
    steps: list[PlannedStep] = []
    run_ids: list[str] = []
    there: set[str] = set()
    assumed: list[str] = []
    opened = Lineage.open(home, fresh=True) if home.lineage_db.exists() or history.cells else nullcontext()
    with opened as lineage, tempfile.TemporaryDirectory(prefix="starloop-plan-") as scratch:
        for arm in (settled(one, home) for one in config.expanded()):
            run_id = run_identity(method, arm, code_behind(arm))
            rehearsal = Rehearsal(arm, run_id, onlooker(home, Path(scratch)), history, lineage, there)
            try:
                loop_of_method(method)(rehearsal)
            except BudgetReached as limit:
                rehearsal.assumed.append(str(limit))
            run_ids.append(run_id)
            assumed += rehearsal.assumed
            steps += _steps(rehearsal, arm.name if config.arms else None, workers)
    return Plan(method, tuple(run_ids), tuple(steps), _each(assumed))


def keep(plan: Plan, home: Home) -> None:
    """Write the plan down, for its runs to be compared with at their end."""
    for run_id in plan.run_ids:
        own = Plan(plan.method, (run_id,), tuple(step for step in plan.steps if step.run_id == run_id))
        atomic_write(home.plans / f"{run_id}.json", json.dumps(own.to_json(), sort_keys=True).encode())


def _steps(rehearsal: Rehearsal, arm: str | None, workers: int) -> list[PlannedStep]:
    groups: dict[tuple[int, str], list[PlannedCell]] = {}
    for cell in rehearsal.cells:
        groups.setdefault((cell.iteration, cell.title), []).append(cell)
    return [_step(rehearsal, arm or "", group, workers) for group in groups.values()]


def _step(rehearsal: Rehearsal, arm: str, cells: Sequence[PlannedCell], workers: int) -> PlannedStep:
    first = cells[0]
    changed = [difference for cell in cells for difference in cell.changed]
    fresh = any(cell.state == RUN and not cell.compared_with for cell in cells)
    because = _each([*(str(one) for one in changed), *([NEW] if fresh else [])])
    return PlannedStep(
        rehearsal.run_id,
        arm,
        first.iteration,
        first.title,
        hit=sum(cell.state == HIT for cell in cells),
        run=sum(cell.state == RUN for cell in cells),
        depends=sum(cell.state == DEPENDS for cell in cells),
        waits_for=_each(step for cell in cells for step in cell.waits_for),
        because=because,
        outside=_each(str(one) for one in changed if one.kind in OUTSIDE),
        estimate=_estimate(cells, rehearsal.history, workers, prices(rehearsal.config.engine)),
    )


def _estimate(cells: Sequence[PlannedCell], history: History, workers: int, price: Prices | None) -> Estimate:
    """Of the cells that would run: cells of a step run side by side, and an engine starts once a step."""
    todo = [cell for cell in cells if cell.state != HIT]
    if not todo:
        return Estimate()
    task = todo[0].task
    past = _comparable(history.of_task(task), todo[0])
    rows = sum((cell.asked for cell in todo), start=NOTHING)
    if task == TRAINING:
        steps = sum(cell.steps for cell in todo)
        pace = _span(done.work_s / done.facts["steps"] for done in past if done.facts.get("steps"))
        return Estimate(seconds=pace and pace * Span(steps, steps) + _startup(past))
    if task not in GENERATING:
        pace = _span(done.work_s / done.asked for done in past if done.asked)
        return Estimate(seconds=pace and pace * rows)
    reused = sum(cell.reused for cell in todo)
    attempts = Span(max(0, rows.low - reused), max(0, rows.high - reused))
    fully = [done for done in past if done.asked > done.reused]
    length = _span(done.facts["tokens"] / done.asked for done in fully)
    pace = _span(done.work_s / (done.asked - done.reused) for done in fully)
    side_by_side = 1 / min(workers, len(todo))
    seconds = pace and pace * attempts * Span(side_by_side, side_by_side) + _startup(past)
    tokens = length and length * attempts
    return Estimate(attempts, tokens, seconds, _cost(price, attempts, fully))


def _cost(price: Prices | None, attempts: Span, past: list[Done]) -> Span | None:
    """Of so many attempts, by what earlier ones read and wrote; cells with texts that nobody counted say nothing of it."""
    if price is None:
        return NOTHING
    counted = [done for done in past if "prompt_tokens" in done.facts and not done.facts.get("uncounted")]
    each = _span(price.cost(done.facts["prompt_tokens"], done.facts["tokens"]) / done.asked for done in counted)
    return each and each * attempts


def _comparable(past: list[Done], cell: PlannedCell) -> list[Done]:
    """Cells of the same step, or where it was never done, of the same task."""
    return [done for done in past if done.name == cell.title] or past


def _startup(past: list[Done]) -> Span:
    return _span(done.startup_s for done in past if done.startup_s > 0) or NOTHING


def _span(values: Iterable[float]) -> Span | None:
    """From the tenth to the ninetieth percentile of what was measured."""
    found = sorted(values)
    if not found:
        return None
    tenth = int(0.1 * (len(found) - 1))
    return Span(found[tenth], found[len(found) - 1 - tenth])


def _sum(one: Span | None, other: Span | None) -> Span | None:
    return None if one is None or other is None else one + other


def _each(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
