"""Which checkpoints of finished runs keep their weights: `all`, `best` (on dev), `last 2`, or `promoted` alone.

    >>> surplus(connection, Rule.parse("last 1"))
    [Surplus(checkpoint_id='51e0…', run_id='fd13…', iteration=1)]

Whatever the rule, these stay: what a run started from, what a run that is not finished may go on from, the base of an adapter that
stays, and whatever an alias points to or a promotion names. What goes are weights: rows, verdicts and lineage are the ledger's, and a
run that needs the weights again trains them again.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.errors import UserMistake

if TYPE_CHECKING:
    import duckdb

ALL = "all"
PATTERN = r"all|best|promoted|last [1-9]\d*"


@dataclass(frozen=True, slots=True)
class Rule:
    """How much is kept of a run; `count` is the number after `last`."""

    kind: str
    count: int = 0

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """Raises UserMistake for what is no rule."""
        if not re.fullmatch(PATTERN, text.strip()):
            raise UserMistake(f"keep = {text!r} does not fit; say all, best, promoted, or last with a number: last 2")
        kind, _, count = text.strip().partition(" ")
        return cls(kind, int(count or 0))

    def keeps(self, curve: "list[_Made]") -> set[str]:
        """The checkpoints of one run that stay by this rule."""
        match self.kind:
            case "all":
                return {one.checkpoint_id for one in curve}
            case "last":
                return {one.checkpoint_id for one in curve[-self.count :]}
            case "best":
                decided = [one for one in curve if one.accuracy is not None] or curve[-1:]
                return (
                    {max(decided, key=lambda one: (one.accuracy or 0.0, one.iteration)).checkpoint_id}
                    if decided
                    else set()
                )
            case _:
                return set()


@dataclass(frozen=True, slots=True)
class Surplus:
    """A checkpoint whose weights no rule keeps."""

    checkpoint_id: str
    run_id: str
    iteration: int


@dataclass(frozen=True, slots=True)
class _Made:
    iteration: int
    checkpoint_id: str
    accuracy: float | None


def surplus(connection: "duckdb.DuckDBPyConnection", given: Rule | None, pinned: Iterable[str] = ()) -> list[Surplus]:
    """What goes by `given`, or where that is None by what each run's own configuration says (`keep`).

    A checkpoint that several runs have stays if one of them keeps it.
    """
    keep = set(pinned)
    going: dict[str, Surplus] = {}
    for run_id, (state, rule, curve) in _runs(connection).items():
        first = {one.checkpoint_id for one in curve if one.iteration == 0}
        chosen = given or Rule.parse(rule)
        finished = state in ("completed", "dropped")
        keep |= first | (
            chosen.keeps([one for one in curve if one.iteration > 0])
            if finished
            else {one.checkpoint_id for one in curve}
        )
        for one in curve:
            going.setdefault(one.checkpoint_id, Surplus(one.checkpoint_id, run_id, one.iteration))
    keep |= _bases(connection, keep)
    return sorted(
        (one for one in going.values() if one.checkpoint_id not in keep), key=lambda one: (one.run_id, one.iteration)
    )


def _runs(connection: "duckdb.DuckDBPyConnection") -> Mapping[str, tuple[str, str, list[_Made]]]:
    """Every run with iterations: its state, its own rule, and what it made, in order."""
    query = (
        "select i.run_id, r.state, coalesce(r.config->>'keep', 'all'), i.iteration, i.checkpoint_id, i.held_out_accuracy "
        "from v_iteration i join run r using (run_id) where i.checkpoint_id is not null order by i.run_id, i.iteration"
    )
    found: dict[str, tuple[str, str, list[_Made]]] = {}
    for run_id, state, rule, iteration, checkpoint_id, accuracy in connection.execute(query).fetchall():
        found.setdefault(run_id.hex, (state, rule, []))[2].append(_Made(iteration, checkpoint_id.hex, accuracy))
    return found


def _bases(connection: "duckdb.DuckDBPyConnection", kept: Iterable[str]) -> set[str]:
    """The bases of adapters that stay."""
    query = "select parent_id from checkpoint where kind = 'adapter' and checkpoint_id in (select unnest(?::uuid[]))"
    return {row[0].hex for row in connection.execute(query, [sorted(kept)]).fetchall() if row[0] is not None}
