"""Rationalized attempts beside what they were made from: the failure, the prompt with the hint, and what the model made of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from storage.explorer.batches import Batch, within
from storage.explorer.catalogue import Catalogue
from storage.explorer.details import Told, read_attempts
from storage.explorer.paging import Found, Hit, look_through
from storage.lineage import Lineage

PAGE = 12


@dataclass(frozen=True, slots=True)
class Rationale:
    """A retry that saw the answer; `failure` is None where the failure itself was forgotten."""

    retry: Told
    failure: Told | None
    role: str
    iteration: int


@dataclass(frozen=True, slots=True)
class RationalePage:
    """A page of them."""

    rationales: list[Rationale]
    found: Found


def find_rationales(
    lineage: Lineage, catalogue: Catalogue, run_id: str, iteration: int | None, verdict: str, after: str | None
) -> RationalePage:
    """The next page, the newest first; `verdict`: passed, rejected, or empty for all."""
    batches = [one for one in catalogue.attempts.of(run_id, iteration) if "rationalize" in one.step][::-1]
    outcome = {"passed": "true", "rejected": "false"}.get(verdict)
    judged = (
        f" and exists (select 1 from verdict v where v.attempt_id = a.attempt_id and v.aspect = '' and v.passed = {outcome})"
        if outcome
        else ""
    )

    def look(pieces: Sequence[Batch], count: int) -> list[Hit]:
        which = " ".join(
            f"when a.rowid between {one.rows.low} and {one.rows.high} then {n}" for n, one in enumerate(pieces)
        )
        query = (
            f"select case {which} end as piece, a.rowid from attempt a where {within('a.rowid', [one.rows for one in pieces])} "
            f"and a.attempt_id in (select child_id from derivation){judged} order by 1, 2 desc limit {count}"
        )
        return [Hit(*row) for row in lineage.rows(query, [])]

    found = look_through(batches, look, after, page=PAGE)
    ids = [row[0] for row in lineage.rows("select attempt_id from attempt where rowid in (select unnest(?::bigint[])) order by rowid desc",
                                          [[row for row, _ in found.rows]])]  # fmt: skip
    made = {
        child: (parent, role)
        for child, parent, role in lineage.rows(
            "select child_id, parent_id, role from derivation where child_id in (select unnest(?::uuid[])) order by all",
            [ids],
        )
    }
    told = read_attempts(lineage, [*ids, *(parent for parent, _ in made.values())])
    by_row = {told[one].row: told[one] for one in ids if one in told}
    rationales = []
    for row, batch in found.rows:
        if row in by_row:
            parent, role = made.get(by_row[row].attempt.attempt_id, ("", ""))
            rationales.append(Rationale(by_row[row], told.get(parent), role, batch.iteration))
    return RationalePage(rationales, found)
