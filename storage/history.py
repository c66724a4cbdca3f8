"""What steps were done before, and how long they took: what a plan is estimated from, and what `why` compares with.

Every committed cell that was computed (not found cached) is here, also those that a later sitting replaced.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from storage.home import Home
from storage.lineage import Lineage

LATEST = 20_000
"""So many cells are looked at, the latest; older ones say little about today."""


@dataclass(frozen=True)
class Done:
    """One cell that was computed. `inputs` and `outputs`: role to manifest as JSON; times in seconds."""

    seq: int
    run_id: str
    run: str
    iteration: int
    name: str
    cell: str
    cache_key: str
    key_parts: Mapping[str, Any]
    startup_s: float
    work_s: float
    asked: int
    reused: int
    facts: Mapping[str, Any]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]

    @property
    def task(self) -> str:
        return str(self.key_parts.get("task", ""))

    @cached_property
    def leaves(self) -> frozenset[tuple[tuple[str, ...], str]]:
        """The key's parts, flat: path and value."""
        return leaves(self.key_parts)

    @classmethod
    def of(cls, seq: int, run: str, payload: Mapping[str, Any]) -> Self:
        """From the payload of a `step_committed` event."""
        return cls(
            seq, payload["run_id"], run, payload["iteration"], payload["name"], payload["cell"], payload["cache_key"],
            payload["key_parts"], payload["startup_s"], payload["work_s"], payload["accounting"]["asked"],
            payload.get("reused", 0), payload["facts"], payload["inputs"], payload["outputs"],
        )  # fmt: skip


class History:
    """The computed cells of one home."""

    def __init__(self, cells: Iterable[Done]) -> None:
        self._by_task: dict[str, list[Done]] = {}
        self.cells = list(cells)
        for cell in self.cells:
            self._by_task.setdefault(cell.task, []).append(cell)

    @classmethod
    def of(cls, home: Home) -> Self:
        """What this home has done; nothing where it does not exist yet."""
        if not home.events.is_dir():
            return cls([])
        with Lineage.open(home, fresh=True) as lineage:
            return cls(Done.of(seq, run, json.loads(payload)) for seq, run, payload in lineage.computed(LATEST))

    def of_task(self, task: str) -> list[Done]:
        """Cells of one task, the earliest first."""
        return self._by_task.get(task, [])

    def nearest(self, parts: Mapping[str, Any], name: str, iteration: int, before: int | None = None) -> Done | None:
        """The earlier cell of the same task whose key differs in the fewest parts; of equals, one of the same step, then the latest."""
        wanted = leaves(parts)

        def distance(done: Done) -> tuple[int, bool, int, int]:
            return len(wanted ^ done.leaves), done.name != name, abs(done.iteration - iteration), -done.seq

        earlier = [done for done in self.of_task(str(parts["task"])) if before is None or done.seq < before]
        return min(earlier, key=distance, default=None)


def leaves(parts: Mapping[str, Any], path: tuple[str, ...] = ()) -> frozenset[tuple[tuple[str, ...], str]]:
    """Nested parts as path and value; a list is one value, and a manifest counts by its shards alone."""
    found: set[tuple[tuple[str, ...], str]] = set()
    for name, value in parts.items():
        if isinstance(value, Mapping) and value.keys() == {"table", "shards", "rows"}:
            found.add(((*path, name), json.dumps([value["table"], list(value["shards"])])))
        elif isinstance(value, Mapping) and value:
            found |= leaves(value, (*path, name))
        else:
            found.add(((*path, name), json.dumps(value, sort_keys=True)))
    return frozenset(found)
