"""Finding examples, and reading a training set row by row."""

from collections.abc import Sequence
from dataclasses import dataclass

from storage.explorer.attempts import CODE, OUTCOMES
from storage.explorer.batches import Batch, Range, within
from storage.explorer.catalogue import Catalogue
from storage.explorer.filters import Condition, Filter, all_of, begins, said, whose
from storage.explorer.paging import BUDGET_S, PAGE, Found, Hit, look_through
from storage.lineage import Lineage

SNIPPET = 220


@dataclass(frozen=True, slots=True)
class ExampleLine:
    """An example in a list; `places` in training sets, `origins` of its evidence."""

    example_id: str
    prompt: str
    completion: str
    length: int
    origins: list[str]
    evidence: int
    places: int
    stratum: str | None


@dataclass(frozen=True, slots=True)
class ExamplePage:
    """A page of a search."""

    lines: list[ExampleLine]
    found: Found


@dataclass(frozen=True, slots=True)
class Place:
    """A row of a training set."""

    position: int
    example_id: str
    role: str
    weight: float
    prompt: str | None
    completion: str | None


def find_examples(
    lineage: Lineage, catalogue: Catalogue, wanted: Filter, after: str | None = None, budget_s: float = BUDGET_S
) -> ExamplePage:
    """The next page of examples, the newest first."""
    plain = all_of([*_conditions(wanted), *_chosen(lineage, catalogue, wanted)])
    last = lineage.rows("select coalesce(max(rowid), -1) from example", [])[0][0]
    batches = [Batch("", 0, "", Range(0, last))] if last >= 0 else []

    def look(pieces: Sequence[Batch], count: int) -> list[Hit]:
        where = f"{within('x.rowid', [one.rows for one in pieces])} and {plain.sql}"
        query = f"select x.rowid from example x where {where} order by x.rowid desc limit {count}"
        return [Hit(0, row[0]) for row in lineage.rows(query, list(plain.given))]

    found = look_through(batches, look, after, budget_s=budget_s)
    return ExamplePage(_lines(lineage, [row for row, _ in found.rows], wanted.text), found)


def read_places(lineage: Lineage, mix_id: str, start: int, count: int = PAGE) -> list[Place]:
    """The rows of a training set from a position on."""
    query = (
        "with here as materialized (select position, example_id, role, weight from mix_member where mix_id = ?::uuid "
        f"and position >= ? order by position limit {count}) "
        f"select h.position, h.example_id, h.role, h.weight, left(x.prompt, {SNIPPET}), left(x.completion, {SNIPPET}) from here h "
        f"left join (select * from example where {whose('example', 'example_id in (select example_id from here)')}) x using (example_id) "
        "order by h.position"
    )
    return [Place(*row) for row in lineage.rows(query, [mix_id, start])]


def _lines(lineage: Lineage, rows: list[int], text: str) -> list[ExampleLine]:
    if not rows:
        return []
    column, needle = ("x.completion", text) if text != text.lower() else ("lower(x.completion)", text)
    query = (
        "with hit as materialized (select x.rowid as place, x.example_id, left(x.prompt, 300) as prompt, "
        f"substr(x.completion, greatest(strpos({column}, ?) - 60, 1), {SNIPPET}) as completion, "
        "length(x.completion) as length from example x where "
        "x.rowid in (select unnest(?::bigint[]))), "
        "piece as (select e.example_id, list(distinct e.origin order by e.origin) as origins, count(*) as evidence, "
        "any_value(b.stratum) as stratum from example_evidence e left join problem b using (problem_id) "
        "where e.example_id in (select example_id from hit) group by e.example_id), "
        "use as (select example_id, count(*) as places from mix_member where example_id in (select example_id from hit) group by 1) "
        "select h.example_id, h.prompt, h.completion, h.length, coalesce(p.origins, []), coalesce(p.evidence, 0), "
        "coalesce(u.places, 0), p.stratum from hit h left join piece p using (example_id) left join use u using (example_id) "
        "order by h.place desc"
    )
    return [ExampleLine(*row) for row in lineage.rows(query, [needle, rows])]


def _conditions(wanted: Filter) -> list[Condition]:
    conditions = [begins("x.example_id", wanted.id)] if wanted.id else []
    if wanted.text:
        where = {"question": ["x.prompt"], "answer": ["x.completion"]}.get(wanted.within, ["x.prompt", "x.completion"])
        parts = [said(column, wanted.text) for column in where]
        conditions.append(
            Condition(f"({' or '.join(one.sql for one in parts)})", tuple(v for one in parts for v in one.given))
        )
    return conditions


def _chosen(lineage: Lineage, catalogue: Catalogue, wanted: Filter) -> list[Condition]:
    """What the evidence and the training sets narrow, found out once and not in every window."""
    narrowed = []
    if wanted.run or wanted.iteration is not None:
        mixes = [
            identity for identity, place in catalogue.written.items()
            if (not wanted.run or place.run_id.startswith(wanted.run)) and wanted.iteration in (None, place.iteration)
        ]  # fmt: skip
        lineage.rows(
            "create or replace temp table trained_on as select distinct example_id from mix_member "
            "where mix_id in (select unnest(?::uuid[]))", [mixes],
        )  # fmt: skip
        narrowed.append(Condition("x.example_id in (select example_id from trained_on)"))
    about = _about_evidence(wanted)
    if about:
        which = all_of(about)
        judged = wanted.verdict or wanted.reason is not None
        stratum = " join problem b on b.problem_id = e.problem_id" if wanted.stratum else ""
        verdict = " left join verdict v on v.verdict_id = e.verdict_id" if judged else ""
        outcome = f", case when v.verdict_id is null then null else {CODE} end as outcome, v.reason" if judged else ""
        lineage.rows(
            f"create or replace temp table chosen as with piece as (select e.example_id, e.origin, e.problem_id, e.attempt_id"
            f"{', b.stratum' if wanted.stratum else ''}{outcome} from example_evidence e{stratum}{verdict}) "
            f"select distinct example_id from piece where {which.sql}", list(which.given),
        )  # fmt: skip
        narrowed.append(Condition("x.example_id in (select example_id from chosen)"))
    return narrowed


def _about_evidence(wanted: Filter) -> list[Condition]:
    about = []
    if wanted.origin:
        about.append(Condition("origin = ?", (wanted.origin,)))
    if wanted.problem:
        about.append(begins("problem_id", wanted.problem))
    if wanted.stratum:
        about.append(Condition("stratum = ?", (wanted.stratum,)))
    if wanted.verdict:
        about.append(Condition(OUTCOMES[wanted.verdict]))
    if wanted.reason is not None:
        about.append(Condition("coalesce(reason, '') = ?", (wanted.reason,)))
    return about
