"""A loop gone through without doing it: every step is looked up instead of run.

A method's own code runs, on a loop that answers each step from the cache where it can. What is not there is promised, and
whatever would take a promise depends on the step that gave it. Only problems are posed for real, into a folder that is
thrown away: everything depends on them, and it takes no time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from flows.config import LoopConfig
from flows.differences import Difference, differences
from flows.expected import EXPECTED, NOTHING, PROMISE, QUICK, Promise, Span, waits_for
from flows.progress import Listener, SilentListener
from flows.step import Model
from storage.history import History
from storage.home import Home
from storage.identity import canonical_json, digest
from storage.lineage import Lineage
from storage.manifest import Manifest
from storage.records import Problem
from storage.shards import Shards
from storage.tombstones import Tombstones
from tasks.caching import CachedTask, StepRecord, plain
from tasks.generation import stored_count
from tasks.pretrained import Found, NotHere
from tasks.pretrained import find as find_model
from tasks.prompts.chat import prompt_of
from tasks.runtime import Runtime

HIT, RUN, DEPENDS = "hit", "run", "depends"
MOST_PROBLEMS_LOOKED_UP = 20_000
"""Beyond so many in a cell, what is stored already is not counted beforehand."""


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One cell before it runs. `state`: hit (it is there), run (its key is known and not there), depends (on `waits_for`).

    `asked` and `reused`: rows it will be asked for, and those of them that are stored already; `steps`: optimizer steps.
    """

    iteration: int
    title: str
    task: str
    state: str
    identity: str
    waits_for: tuple[str, ...] = ()
    changed: tuple[Difference, ...] = ()
    compared_with: str = ""
    asked: Span = NOTHING
    reused: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Absent:
    """A model on the hub that was not fetched yet."""

    source: str

    def canonical(self) -> object:
        return {"source": self.source, "files": None}


@dataclass
class Rehearsal:
    """Stands in for a `Loop`; `cells` is what it would have done, and `assumed` what nobody could look up. `there` are the keys
    that arms before it will have made.
    """

    config: LoopConfig
    run_id: str
    runtime: Runtime
    history: History
    lineage: Lineage | None
    there: set[str] = field(default_factory=set)
    cells: list[PlannedCell] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    listener: Listener = field(default_factory=SilentListener)
    _rows: dict[str, Span] = field(default_factory=dict)

    def run(self, iteration: int, title: str, task: CachedTask, calls: Sequence[dict[str, Any]]) -> list[StepRecord]:
        """The records of every cell: those that are there, and promises for the others."""
        return [self._cell(iteration, title, task, call) for call in calls]

    start = run

    def finish(self, step: list[StepRecord]) -> list[StepRecord]:
        return step

    def close(self, iteration: int, model: Model, dev: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        """An iteration's figures as far as they are known: what a stopping rule looks at."""
        known = {"held_out_accuracy": dev["accuracy"], "ci_low": dev["ci_low"], "ci_high": dev["ci_high"]}
        return {"iteration": iteration, **known, **extra, "checkpoint_id": model.checkpoint_id}

    def find_model(self, source: str) -> Found | Absent:
        """The model if it is on this machine; one of the hub that is not is assumed to be there, and that is said."""
        try:
            return find_model(source, fetch=False)
        except NotHere:
            chat = "" if self.config.chat == "off" else ", and prompts to stand in its chat template if it has one"
            self.assumed.append(f"{source} is not on this machine: it is taken to be on the hub and to fit{chat}")
            return Absent(source)

    def place(self, zone: dict[str, Any]) -> None:
        """Nothing to say: nothing was measured."""

    def note(self, name: str, what: str) -> None:
        """Nothing to say: nothing was made."""

    def final_test(
        self, base: dict[str, Any], final: dict[str, Any], also: tuple[dict[str, Any], dict[str, Any]] | None = None
    ) -> None:
        """Nothing to say: nothing was tested."""

    def _cell(self, iteration: int, title: str, task: CachedTask, call: dict[str, Any]) -> StepRecord:
        parts = task.key_parts(call)
        key = task.key_of(parts)
        step = f"{iteration} {title}"
        waits = waits_for(canonical_json({name: _promises(value) for name, value in call.items()}))
        if not waits and (record := task.cached(self.runtime, call)):
            self.cells.append(PlannedCell(iteration, title, task.name, HIT, key))
            return record
        asked = self._asked(task.name, call)
        facts: dict[str, Any] = {"asked": asked, "steps": getattr(call.get("recipe"), "steps", 0), "waits_for": waits}
        if key in self.there:
            state = HIT
        elif waits:
            state = DEPENDS
        else:
            state = RUN
            if nearest := self.history.nearest(parts, title, iteration):
                facts["changed"] = tuple(differences(nearest.key_parts, parts))
                facts["compared_with"] = f"{nearest.iteration} {nearest.name}"
            facts["reused"] = self._reused(task.name, call)
        self.there.add(key)
        self.cells.append(PlannedCell(iteration, title, task.name, state, key, **facts))
        if task.name not in EXPECTED or (task.name in QUICK and not waits):
            output = task.function(**call, runtime=self.runtime)
        else:
            promise = Promise(step, digest(key)[:12])
            output = EXPECTED[task.name](call, promise, asked.high)
            self._rows |= {shard: asked for manifest in output.manifests.values() for shard in manifest.shards}
        return StepRecord(output, task.name, key, parts, "", 0.0, 0.0)

    def _asked(self, task: str, call: dict[str, Any]) -> Span:
        """How many rows a cell will be asked for."""
        if task == "sample":
            return self._span(call["problems"]) * Span(call["samples"], call["samples"])
        if task == "rationalize":
            return self._rationalized(self._span(call["problems"]))
        if task in {"critique", "refine", "weigh_refinements"}:
            return self._span(call["problems"])
        if "draw" in call:
            return Span(call["draw"].count, call["draw"].count)
        if task in ("mix", "pair_up", "mix_instructions"):
            return sum((self._span(part.attempts) for part in call["judged"]), start=NOTHING)
        if task in ("propose", "choose"):
            return Span(call["count"], call["count"])
        for name in ("attempts", "members", "problems"):
            if isinstance(call.get(name), Manifest):
                return self._span(call[name])
        return Span(call.get("count", 0), call.get("count", 0))

    def _span(self, manifest: Manifest) -> Span:
        promised = [self._rows[shard] for shard in manifest.shards if shard in self._rows]
        return sum(promised, start=NOTHING) if promised else Span(manifest.rows, manifest.rows)

    def _rationalized(self, problems: Span) -> Span:
        """Failures to retry: by the shares that earlier cells had, else anything from none to all."""
        shares = [
            done.asked / rows
            for done in self.history.of_task("rationalize")
            if (rows := done.inputs.get("problems", {}).get("rows", 0))
        ]
        return problems * (Span(min(shares), max(shares)) if shares else Span(0, 1))

    def _reused(self, task: str, call: dict[str, Any]) -> int:
        """Rows of a `sample` cell that are stored under its requests."""
        if task != "sample" or self.lineage is None:
            return 0
        problems: Manifest = call["problems"]
        if problems.rows > MOST_PROBLEMS_LOOKED_UP:
            return 0
        rows = self.runtime.shards.read(problems, Problem)
        prompts = [prompt_of(call["template"], problem, chat=call.get("chat")).prompt_id for problem in rows]
        return stored_count(self.lineage, rows, prompts, call)


class Overlay(Shards):
    """A home's shards for reading; what is written goes to a folder of its own."""

    def __init__(self, home: Home, scratch: Path) -> None:
        super().__init__(home)
        self._scratch = scratch

    def path(self, table: str, digest: str) -> Path:
        real = super().path(table, digest)
        return real if real.exists() else self._scratch / table / f"{digest}.parquet"

    def rows(self, table: str, digest: str) -> int:
        """None in a shard that is only promised: how many there will be is counted apart."""
        return 0 if PROMISE.match(digest) else super().rows(table, digest)


class Onlooker:
    """What a task may look at while nothing is done: a `Runtime` without processes."""

    def __init__(self, home: Home, scratch: Path) -> None:
        self.home = home
        self.shards = Overlay(home, scratch)
        self.tombstones = Tombstones.of(home)

    def check_cancelled(self) -> None:
        """Nobody stops what takes no time."""


def onlooker(home: Home, scratch: Path) -> Runtime:
    """The runtime of a rehearsal."""
    return cast(Runtime, Onlooker(home, scratch))


def _promises(value: Any) -> object:
    """An argument as JSON with everything in it, also what leaves itself out of a key."""
    if hasattr(value, "canonical") and hasattr(value, "__slots__"):
        return [_promises(getattr(value, name)) for name in value.__slots__]
    if isinstance(value, tuple | list):
        return [_promises(part) for part in value]
    return plain(value)
