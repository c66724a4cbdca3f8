"""Why a step of a run was computed and not found cached: what of its key differs from the nearest earlier one, and from
where in the run that difference came.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.differences import ROWS, Difference, differences
from storage.errors import UserMistake
from storage.history import Done, History


@dataclass(frozen=True, slots=True)
class Reason:
    """Why cells of one step ran. `cells` did for this reason; `nearest` is what came closest before, None if nothing did.

    `upstream` are the steps of the same run that wrote those of its rows that were others.
    """

    iteration: int
    step: str
    cells: int
    differences: tuple[Difference, ...]
    nearest: Done | None
    upstream: tuple[str, ...]

    @property
    def place(self) -> str:
        return f"{self.iteration} {self.step}"


def reasons(history: History, run_id: str, step: str, iteration: int | None) -> list[Reason]:
    """The reasons of a step and, after them, those of the steps whose rows made the difference, the latest first: the last
    is where it began.

    Raises UserMistake when the run computed no such step, naming those that it did.
    """
    mine = [done for done in history.cells if done.run_id == run_id]
    places = {(done.iteration, done.name): None for done in mine}
    wanted = [place for place in places if place[1] == step and iteration in (None, place[0])]
    if not wanted:
        computed = ", ".join(f"{number} {name}" for number, name in places) or "none at all: everything was cached"
        raise UserMistake(f"this run computed no step {step!r}{_in(iteration)}; it computed: {computed}")
    found: list[Reason] = []
    seen: set[tuple[int, str]] = set()
    while wanted:
        place = wanted.pop(0)
        if place in seen:
            continue
        seen.add(place)
        for reason in _of_step(history, mine, place):
            found.append(reason)
            wanted += [other for other in places if f"{other[0]} {other[1]}" in reason.upstream]
    computed_as = {place: number for number, place in enumerate(places)}
    return sorted(found, key=lambda reason: -computed_as[reason.iteration, reason.step])


def _of_step(history: History, mine: Sequence[Done], place: tuple[int, str]) -> list[Reason]:
    cells = [done for done in mine if (done.iteration, done.name) == place]
    groups: dict[tuple[tuple[Difference, ...], bool], list[tuple[Done, Done | None]]] = {}
    for cell in cells:
        nearest = history.nearest(cell.key_parts, cell.name, cell.iteration, before=_began(cells))
        changed = tuple(differences(nearest.key_parts, cell.key_parts)) if nearest else ()
        groups.setdefault((changed, nearest is None), []).append((cell, nearest))
    return [
        Reason(
            place[0], place[1], len(group), changed, group[0][1], _upstream([cell for cell, _ in group], changed, mine)
        )
        for (changed, _), group in groups.items()
    ]


def _began(cells: Sequence[Done]) -> int:
    """Cells of one step are no earlier cells to each other."""
    return min(cell.seq for cell in cells)


def _upstream(cells: Sequence[Done], changed: Sequence[Difference], mine: Sequence[Done]) -> tuple[str, ...]:
    """The steps of this run that wrote the rows, or the checkpoint, that were others."""
    roles = {difference.what for difference in changed if difference.kind == ROWS}
    shards = {
        shard
        for cell in cells
        for role, manifest in cell.inputs.items()
        if role.partition(".")[0] in roles
        for shard in manifest["shards"]
    }
    checkpoints = {
        str(cell.key_parts["arguments"].get(name))
        for cell in cells
        for name in ("checkpoint_id", "base_checkpoint_id")
        if roles & {"checkpoint", "base checkpoint"}
    }
    writers = [done for done in mine if _wrote(done, shards) or str(done.facts.get("checkpoint_id")) in checkpoints]
    here = {(cell.iteration, cell.name) for cell in cells}
    return tuple(dict.fromkeys(f"{done.iteration} {done.name}" for done in writers
                               if (done.iteration, done.name) not in here and _makes(done, shards)))  # fmt: skip


def _wrote(done: Done, shards: set[str]) -> bool:
    return any(shard in shards for manifest in done.outputs.values() for shard in manifest["shards"])


def _makes(done: Done, shards: set[str]) -> bool:
    """Whether it made what it stands for: an evaluation names a checkpoint too, and made none."""
    return _wrote(done, shards) or "training_id" in done.facts


def _in(iteration: int | None) -> str:
    return "" if iteration is None else f" in iteration {iteration}"


def as_json(reason: Reason) -> Mapping[str, Any]:
    """A reason as plain JSON."""
    nearest = reason.nearest
    return {
        "iteration": reason.iteration,
        "step": reason.step,
        "cells": reason.cells,
        "differences": [
            {"kind": one.kind, "what": one.what, "before": one.before, "after": one.after, "said": str(one)}
            for one in reason.differences
        ],
        "nearest": nearest
        and {"run_id": nearest.run_id, "run": nearest.run, "iteration": nearest.iteration, "step": nearest.name},
        "upstream": list(reason.upstream),
    }
