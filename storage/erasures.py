"""What was taken out of the store again: what replaying the events leaves out, and what it puts in its place.

    {"kind": "forgotten", "payload": {"what": "example", "reason": "…", "tombstones": {"table": "tombstone", …},
     "erased": [{"table": "attempt", "digest": "8d1f…", "replaced_by": "02cc…"}], "checkpoints": ["9b1c…"], …}}
    {"kind": "collected", "payload": {"runs": ["fd13…"], "steps": ["1097…"], "erased": [{…, "replaced_by": null}], "files": [
     "results/sample-1af0…", "checkpoints/03bd…"]}}

What is forgotten stays forgotten, whatever names it. What was collected is left out of all that came before the event
alone: a run that makes the same shard again brings it back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import duckdb

from storage.events import COLLECTED, ERASING, FORGOTTEN, Event
from storage.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Erased:
    """A shard that was taken out. `replaced_by` holds its other rows; None where it had no others, or was collected."""

    table: str
    digest: str
    replaced_by: str | None = None

    def plain(self) -> dict[str, Any]:
        return {"table": self.table, "digest": self.digest, "replaced_by": self.replaced_by}


@dataclass(slots=True)
class Erasures:
    """Every erasure that is known, by what it took out."""

    forgotten: dict[str, str | None] = field(default_factory=dict)
    collected: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of_events(cls, events: Iterable[Event]) -> Self:
        """Those among the events, for a ledger that is made from nothing."""
        found = cls()
        for event in events:
            if event.kind == FORGOTTEN:
                found.forgotten |= {one.digest: one.replaced_by for one in erased_by(event.payload)}
            elif event.kind == COLLECTED:
                found.collected |= {one.digest: event.seq for one in erased_by(event.payload)}
                found.steps |= dict.fromkeys(event.payload["steps"], event.seq)
        return found

    @classmethod
    def of_ledger(cls, connection: duckdb.DuckDBPyConnection) -> Self:
        """Those that concern events which the ledger does not know yet."""
        rows = connection.execute("select digest, replaced_by from erased where kind = ?", [FORGOTTEN]).fetchall()
        return cls(forgotten={digest.hex: replaced and replaced.hex for digest, replaced in rows})

    def drops(self, event: Event) -> bool:
        """Whether a committed step was dropped later."""
        return self.steps.get(event.payload["step_id"], 0) > event.seq

    def places(self, manifest: Manifest, seq: int) -> list[tuple[int, str]]:
        """A manifest's shards as they are now, named by an event of this number: place and digest."""
        now = [(place, self.now(digest, seq)) for place, digest in enumerate(manifest.shards)]
        return [(place, digest) for place, digest in now if digest is not None]

    def now(self, digest: str, seq: int) -> str | None:
        """The shard that holds what is left of one named at this time; None where nothing is."""
        current: str | None = digest
        while current in self.forgotten:
            current = self.forgotten[current]
        return None if current is None or self.collected.get(current, 0) > seq else current


class ErasureAhead(Exception):
    """An erasure that the ledger does not know yet: it is carried out, and the ledger made anew from what is left."""


def is_erasure(event: Event) -> bool:
    return event.kind in ERASING


def erased_by(payload: Mapping[str, Any]) -> list[Erased]:
    """The shards that an erasure takes out."""
    return [Erased(one["table"], one["digest"], one["replaced_by"]) for one in payload["erased"]]
