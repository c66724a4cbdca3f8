"""Two evaluations beside each other, problem by problem: what the later one solves that the earlier did not, and what it lost."""

from collections.abc import Sequence
from dataclasses import dataclass

from storage.errors import UserMistake
from storage.explorer.catalogue import Catalogue, Evaluated
from storage.explorer.details import TEXT_SHOWN
from storage.explorer.filters import whose
from storage.explorer.paging import PAGE
from storage.lineage import Lineage
from storage.report.arms import Change
from storage.significance import mcnemar

CHANGES = {"gained": "newly solved", "lost": "lost", "both": "solved by both", "neither": "solved by neither",
           "undecided": "undecided"}  # fmt: skip
_CHANGE = (
    "case when x.passed is null or y.passed is null then 'undecided' when x.passed and y.passed then 'both' "
    "when x.passed then 'lost' when y.passed then 'gained' else 'neither' end"
)


@dataclass(frozen=True, slots=True)
class Item:
    """A problem that both evaluations asked."""

    problem_id: str
    change: str
    question: str | None
    gold: str | None
    stratum: str | None
    before_id: str
    before: str | None
    before_answer: str | None
    after_id: str
    after: str | None
    after_answer: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`counts`: how many problems changed how. `items`: a page of those of the wanted change, from `start` on."""

    before: Evaluated
    after: Evaluated
    counts: dict[str, int]
    p_value: float | None
    items: list[Item]
    start: int


def read_changes(lineage: Lineage, pairs: Sequence[tuple[int, str, str]]) -> dict[int, Change]:
    """How many problems each pair of evaluations (before, after) gained and lost, by the number given with it."""
    if not pairs:
        return {}
    rows = lineage.rows(
        f"with pair as (select unnest(?::integer[]) as n, unnest(?::uuid[]) as a, unnest(?::uuid[]) as b), {_OUTCOME}, "
        "scored as (select p.n, x.passed as before, y.passed as after from pair p join outcome x on x.evaluation_id = p.a "
        "join outcome y on y.evaluation_id = p.b and y.problem_id = x.problem_id) "
        "select n, count(*) filter (where after and not before), count(*) filter (where before and not after) "
        "from scored where before is not null and after is not null group by n",
        [[n for n, _, _ in pairs], [a for _, a, _ in pairs], [b for _, _, b in pairs],
         list({one for _, a, b in pairs for one in (a, b)})],
    )  # fmt: skip
    return {n: Change(gained, lost, mcnemar(gained, lost)) for n, gained, lost in rows}


_OUTCOME = (
    "item as materialized (select * from evaluation_item where evaluation_id in (select unnest(?::uuid[]))), "
    "outcome as materialized (select i.evaluation_id, i.problem_id, i.attempt_id, v.passed, v.answer from item i left join "
    "(select verdict_id, passed, answer from verdict where verdict_id in (select verdict_id from item)) v using (verdict_id))"
)


def choose(
    catalogue: Catalogue, run_id: str, split: str, before: int | None, after: int | None
) -> tuple[Evaluated, Evaluated]:
    """The two evaluations of a run; the first and the last if not told. Raises UserMistake where there are not two."""
    there = [one for one in catalogue.evaluations if one.run_id == run_id and one.split == split]
    if len(there) < 2:
        raise UserMistake(
            f"{catalogue.run_name(run_id)} has {len(there)} evaluations on {split}; two are needed to compare"
        )
    by = {one.iteration: one for one in there}
    first, last = there[0].iteration if before is None else before, there[-1].iteration if after is None else after
    for number in (first, last):
        if number not in by:
            raise UserMistake(
                f"iteration {number} was not evaluated on {split}; there are: {', '.join(map(str, sorted(by)))}"
            )
    return by[first], by[last]


def compare(lineage: Lineage, before: Evaluated, after: Evaluated, change: str, start: int) -> Comparison:
    """The comparison, with a page of the problems that changed so."""
    pair = (
        f"with {_OUTCOME}, pair as materialized (select x.problem_id, {_CHANGE} as change, x.attempt_id as a, x.answer as a_answer, "
        "y.attempt_id as b, y.answer as b_answer from outcome x join outcome y using (problem_id) "
        "where x.evaluation_id = ?::uuid and y.evaluation_id = ?::uuid)"
    )
    both = [before.evaluation_id, after.evaluation_id]
    counts = dict(lineage.rows(f"{pair} select change, count(*) from pair group by change", [both, *both]))
    rows = lineage.rows(
        f"{pair}, here as materialized (select * from pair where change = ? order by problem_id limit {PAGE} offset ?), "
        f"said as (select attempt_id, left(text, {TEXT_SHOWN // 10}) as text from attempt "
        f"where {whose('attempt', 'attempt_id in (select a from here union select b from here)')}) "
        "select h.problem_id, h.change, left(p.question, 1000), p.gold, p.stratum, h.a, sa.text, h.a_answer, h.b, sb.text, h.b_answer "
        f"from here h left join (select * from problem where {whose('problem', 'problem_id in (select problem_id from here)')}) p using (problem_id) "
        "left join said sa on sa.attempt_id = h.a left join said sb on sb.attempt_id = h.b order by h.problem_id",
        [both, *both, change, start],
    )
    gained, lost = counts.get("gained", 0), counts.get("lost", 0)
    decided = sum(count for name, count in counts.items() if name != "undecided")
    return Comparison(
        before, after, counts, mcnemar(gained, lost) if decided else None, [Item(*row) for row in rows], start
    )
