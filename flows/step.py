"""One step of a loop: its cells as they were submitted, and what came of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from storage.ledger import StepCommit
from storage.manifest import Accounting, Manifest
from tasks.caching import CachedTask, StepHandle, StepRecord
from tasks.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Cell:
    """A finished cell: the task run's name, what it was called with, and its record."""

    name: str
    call: dict[str, Any]
    record: StepRecord
    hit: bool
    task_run_id: str

    @property
    def tokens(self) -> int:
        """Tokens that were generated for it, now or when it was first made."""
        tokens = self.record.output.facts.get("tokens", 0)
        return tokens if isinstance(tokens, int) else 0

    @property
    def cost(self) -> float:
        """What these tokens cost, where the engine's ref gives prices."""
        cost = self.record.output.facts.get("cost", 0.0)
        return float(cost) if isinstance(cost, int | float) else 0.0

    def commit(self, run_id: str, step: "Step") -> StepCommit:
        """What the ledger keeps of it. The seconds of a hit were spent by the run that made it."""
        return StepCommit(
            run_id=run_id,
            iteration=step.iteration,
            name=step.title,
            cell=self.name,
            cache_key=self.record.key,
            key_parts=self.record.key_parts,
            hit=self.hit,
            prefect_task_run_id=self.task_run_id,
            startup_s=0.0 if self.hit else self.record.startup_s,
            work_s=0.0 if self.hit else self.record.work_s,
            inputs=manifests_in(self.call),
            output=self.record.output,
            reused=0 if self.hit else self.record.reused,
        )


@dataclass(frozen=True, slots=True)
class Model:
    """A checkpoint in use: its id, and the digest of the weights that an engine must have loaded.

    `kind` is full or adapter; an adapter names its base.
    """

    checkpoint_id: str
    weights_digest: str
    kind: str = "full"
    base_checkpoint_id: str | None = None


class Step:
    """A step under way. `fault` is what the first failing cell raised."""

    def __init__(
        self, iteration: int, title: str, calls: Sequence[dict[str, Any]], handles: Sequence[tuple[str, StepHandle]]
    ) -> None:
        self.iteration = iteration
        self.title = title
        self.fault: Exception | None = None
        self.seconds = 0.0
        self._calls = calls
        self._handles = handles
        self._begun = time.monotonic()

    def collect(self) -> list[Cell]:
        """Wait for every cell; those that succeeded, in order."""
        done: list[Cell] = []
        for (name, handle), call in zip(self._handles, self._calls, strict=True):
            try:
                record = handle.result()
            except Exception as error:  # noqa: BLE001 - raised by the loop, once the finished cells are safe in the ledger
                self.fault = self.fault or error
                continue
            done.append(Cell(name, call, record, handle.hit(record), handle.task_run_id))
        self.seconds = time.monotonic() - self._begun
        return done


def submit(
    iteration: int, title: str, task: CachedTask, calls: Sequence[dict[str, Any]], runtime: Runtime
) -> list[tuple[str, StepHandle]]:
    """Start every cell under a name that says where it stands: `2 sample 3/4`."""
    prefix = f"{iteration} {title}"
    names = [prefix if len(calls) == 1 else f"{prefix} {place}/{len(calls)}" for place in range(1, len(calls) + 1)]
    return [(name, task.submit(name, runtime, **call)) for name, call in zip(names, calls, strict=True)]


@dataclass
class StepFigures:
    """What a step adds up to: cells run and cached, generated tokens and their cost, rows that the cells run were asked for and those
    of them that they found already there, seconds.
    """

    tasks_run: int = 0
    tasks_cached: int = 0
    tokens: int = 0
    cost: float = 0.0
    asked: int = 0
    reused: int = 0
    startup_s: float = 0.0
    seconds: float = 0.0

    def add(self, step: Step, cells: Sequence[Cell]) -> None:
        """Take in a finished step."""
        made = [cell.record for cell in cells if not cell.hit]
        self.tasks_run += len(made)
        self.tasks_cached += len(cells) - len(made)
        self.tokens += sum(cell.tokens for cell in cells)
        self.cost += sum(cell.cost for cell in cells)
        self.asked += sum(record.output.accounting.asked for record in made)
        self.reused += sum(record.reused for record in made)
        self.startup_s += sum(record.startup_s for record in made)
        self.seconds += step.seconds


@dataclass
class Figures:
    """What an iteration adds up to while its steps come in."""

    steps: dict[str, StepFigures] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    def add(self, step: Step, cells: Sequence[Cell]) -> None:
        """Take in a finished step."""
        self.steps.setdefault(step.title, StepFigures()).add(step, cells)

    @property
    def tasks_run(self) -> int:
        return sum(step.tasks_run for step in self.steps.values())

    @property
    def tasks_cached(self) -> int:
        return sum(step.tasks_cached for step in self.steps.values())

    @property
    def tokens(self) -> int:
        return sum(step.tokens for step in self.steps.values())

    @property
    def cost(self) -> float:
        return sum(step.cost for step in self.steps.values())

    @property
    def startup_s(self) -> float:
        return sum(step.startup_s for step in self.steps.values())


def manifests_in(call: dict[str, Any]) -> dict[str, Manifest]:
    """The manifests among a call's arguments, by parameter name; those inside records, and tuples of records, by path."""
    found: dict[str, Manifest] = {}
    for name, value in call.items():
        if isinstance(value, Manifest):
            found[name] = value
        elif isinstance(value, tuple):
            for place, part in enumerate(value):
                found |= _inside(f"{name}.{place}", part)
        else:
            found |= _inside(name, value)
    return found


def _inside(path: str, record: Any) -> dict[str, Manifest]:
    inner = {f"{path}.{name}": getattr(record, name) for name in getattr(record, "__slots__", ())}
    return {name: value for name, value in inner.items() if isinstance(value, Manifest)}


def joined(records: Sequence[StepRecord], role: str) -> Manifest:
    """One manifest of a role over the cells of a step."""
    first, *rest = [record.output.manifests[role] for record in records]
    return sum(rest, start=first)


def accounting_of(records: Sequence[StepRecord]) -> Accounting:
    """The accounting of a step over its cells."""
    return sum((record.output.accounting for record in records), start=Accounting(0, 0))


def note(total: Accounting) -> str:
    """A step's accounting in a few words."""
    parts = [f"{total.ok:,} of {total.asked:,}"]
    if total.undecided:
        parts.append(f"{total.undecided:,} undecided")
    if total.failed:
        parts.append(f"{total.failed:,} failed")
    return ", ".join(parts)
