"""Promotions as the ledger has them: who holds an alias in MLflow, on what evidence, and who held it before.

    >>> holders = history(recorded(ledger), Alias("home", "addition-star", "champion"))
    >>> [(one.version, one.action) for one in holders]
    [(3, 'promote'), (5, 'promote')]                     # 5 holds it; a rollback puts 3 back

A promotion is three events: intended, the alias is moved, done. Each row of `promotion` is one event and is never changed;
`v_promotion` has the last of each. So a process that dies between the two writes leaves an intention, which the next start
carries out or gives up (`unfinished`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from storage.events import (
    PROMOTED,
    PROMOTION_ABANDONED,
    PROMOTION_INTENDED,
    PROMOTION_NOTICED,
    PROMOTION_REFUSED,
)
from storage.ledger import Ledger
from storage.lineage import Lineage

INTENDED, DONE, REFUSED, ABANDONED, NOTICED = "intended", "done", "refused", "abandoned", "noticed"
PROMOTE, ROLLBACK, BY_HAND, RESTORE = "promote", "rollback", "by hand", "restore"

KINDS = {
    INTENDED: PROMOTION_INTENDED,
    DONE: PROMOTED,
    REFUSED: PROMOTION_REFUSED,
    ABANDONED: PROMOTION_ABANDONED,
    NOTICED: PROMOTION_NOTICED,
}
"""State to the kind of event that reaches it."""


@dataclass(frozen=True, slots=True)
class Alias:
    """A name for one version of a registered model, at one MLflow (`home`: the home's own)."""

    destination: str
    model_name: str
    alias: str

    def __str__(self) -> str:
        where = "" if self.destination == "home" else f" at {self.destination}"
        return f"{self.model_name}@{self.alias}{where}"


@dataclass(frozen=True, slots=True)
class Promotion:
    """One event of one promotion. `run_id` made the checkpoint, `judged_in` holds its evidence; ids are 32 hex digits, times UTC.

    No checkpoint and no version: the alias was taken away.
    """

    promotion_id: str
    state: str
    action: str
    model_name: str
    alias: str
    destination: str
    checkpoint_id: str | None
    version: int | None
    previous_checkpoint_id: str | None
    previous_version: int | None
    run_id: str | None
    judged_in: str | None
    forced: bool
    reason: str | None
    looks: int | None
    gates: list[dict[str, Any]]
    event_seq: int = 0
    happened_at: datetime | None = None

    @property
    def moves(self) -> Alias:
        """The alias that it is about."""
        return Alias(self.destination, self.model_name, self.alias)

    def payload(self) -> dict[str, Any]:
        """What its event says."""
        aside = {"state", "event_seq", "happened_at"}
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in aside}


NAMES = tuple(field.name for field in fields(Promotion))


def record(ledger: Ledger, promotion: Promotion, state: str) -> Promotion:
    """Write down that a promotion has come to a state; what was written."""
    event = ledger.record(KINDS[state], promotion.payload())
    values = promotion.payload() | {"state": state, "event_seq": event.seq, "happened_at": event.at}
    return Promotion(**values)


def recorded(ledger: Ledger) -> list[Promotion]:
    """Every event of every promotion, in order, from the writer's own database."""
    with ledger.writer() as connection:
        rows = connection.execute(f"select {', '.join(NAMES)} from promotion order by event_seq").fetchall()
    found = (dict(zip(NAMES, map(_plain, row), strict=True)) for row in rows)
    return [Promotion(**row | {"gates": json.loads(row["gates"])}) for row in found]


def promotions(lineage: Lineage) -> list[Promotion]:
    """Every promotion as it stands, in the order of what last happened to each."""
    return lineage.read(Promotion, "v_promotion", "true", [], "event_seq")


def unfinished(rows: Sequence[Promotion]) -> list[Promotion]:
    """Intentions that nothing came of yet, the earliest first; the last of an alias is the one to carry out."""
    last = {row.promotion_id: row for row in rows}
    return [row for row in last.values() if row.state == INTENDED]


def history(rows: Sequence[Promotion], alias: Alias) -> list[Promotion]:
    """Who holds an alias, last, and on whom it would fall back, step by step; empty where nobody holds it.

    A promotion or a move by hand goes on top; a rollback takes what was on top away. After a restore (the registry was made anew) the
    same checkpoint stands there, perhaps as another version.
    """
    stack: list[Promotion] = []
    for row in rows:
        if row.moves != alias or row.state not in (DONE, NOTICED):
            continue
        if row.action == ROLLBACK:
            stack = [*stack[:-2], row]
        elif row.action == RESTORE:
            stack = [*stack[:-1], row]
        else:
            stack.append(row)
    return stack


def holder(rows: Sequence[Promotion], alias: Alias) -> Promotion | None:
    """What last happened to an alias, by the ledger; None before the first promotion."""
    return next((row for row in reversed(rows) if row.moves == alias and row.state in (DONE, NOTICED)), None)


def aliases(rows: Sequence[Promotion]) -> list[Alias]:
    """Every alias that was ever moved or noticed, the latest first."""
    moved = [row.moves for row in reversed(rows) if row.state in (DONE, NOTICED)]
    return list(dict.fromkeys(moved))


def _plain(value: Any) -> Any:
    match value:
        case UUID():
            return value.hex
        case datetime():
            return value.replace(tzinfo=UTC)
        case _:
            return value
