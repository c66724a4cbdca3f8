"""Verdicts that a later version of their verifier would not give again."""

from dataclasses import dataclass

from storage.explorer.details import TEXT_SHOWN
from storage.explorer.paging import PAGE
from storage.lineage import Lineage


@dataclass(frozen=True, slots=True)
class Flip:
    """An attempt whose outcome changed; `was` and `now` are passed, rejected or undecided."""

    attempt_id: str
    was_version: str
    was: str
    now_version: str
    now: str
    question: str | None
    gold: str | None
    text: str | None
    was_reason: str | None
    now_reason: str | None


def read_flips(lineage: Lineage, after: str = "") -> list[Flip]:
    """A page of flips and one more, by attempt; none without a look at any verdict where each verifier has one version."""
    versions = lineage.rows(
        "select verifier from (select distinct verifier, verifier_digest from verdict) group by 1 having count(*) > 1",
        [],
    )
    if not versions:
        return []
    outcome = "case when {0} then 'passed' when {0} is null then 'undecided' else 'rejected' end"
    rows = lineage.rows(
        f"select attempt_id, was_version, {outcome.format('was')}, now_version, {outcome.format('now')}, left(question, 1000), gold, "
        f"left(text, {TEXT_SHOWN // 10}), was_reason, now_reason from v_flip where attempt_id > ?::uuid "
        f"order by attempt_id, was_version limit {PAGE + 1}",
        [after or "0" * 32],
    )
    return [Flip(*row) for row in rows]
