"""What a run's verdicts said: rejected and undecided attempts by reason, iteration by iteration."""

from dataclasses import dataclass

from storage.explorer.attempts import CODE, judged_by
from storage.explorer.catalogue import Catalogue
from storage.lineage import Lineage

MOST = 60


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason with how many attempts have it, in all and by iteration. `verdict`: rejected or undecided."""

    verdict: str
    reason: str
    total: int
    by_iteration: dict[int, int]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Those with the most attempts first; `left_out`: reasons not listed, with how many attempts they have."""

    iterations: list[int]
    reasons: list[Reason]
    left_out: int
    left_out_attempts: int


def read_outcomes(lineage: Lineage, catalogue: Catalogue, run_id: str) -> Outcomes:
    """Of one run, its attempts at training and at held-out problems together; second opinions are not among them."""
    counts: dict[tuple[str, str], dict[int, int]] = {}
    iterations = sorted({one.iteration for one in catalogue.verdicts.of(run_id) if not one.step.startswith("audit")})
    for iteration in iterations:
        query = (
            f"select code, coalesce(reason, ''), count(*) from (select attempt_id, min({CODE}) as code, arg_min(reason, {CODE}) as reason "
            f"from verdict v where {judged_by(catalogue, run_id, iteration)} group by attempt_id) where code < 2 group by 1, 2"
        )
        for code, reason, count in lineage.rows(query, []):
            by = counts.setdefault((("rejected", "undecided")[code], reason), {})
            by[iteration] = by.get(iteration, 0) + count
    found = sorted((Reason(verdict, reason, sum(by.values()), by) for (verdict, reason), by in counts.items()),
                   key=lambda one: (-one.total, one.verdict, one.reason))  # fmt: skip
    rest = found[MOST:]
    return Outcomes(iterations, found[:MOST], len(rest), sum(one.total for one in rest))
