"""Finding attempts: which rows fit a filter, and the lines that a list shows of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from storage.explorer.batches import Batch, within
from storage.explorer.catalogue import Catalogue
from storage.explorer.filters import Condition, Filter, all_of, begins, said, whose
from storage.explorer.paging import BUDGET_S, Found, Hit, look_through
from storage.lineage import Lineage

SNIPPET = 220

_AMONG = "{}_id in (select unnest(?::uuid[]))"

OUTCOMES = {"passed": "outcome = 2", "rejected": "outcome = 0", "undecided": "outcome = 1", "none": "outcome is null"}
"""As `_judged` codes them: of several aspects the least decides, so a failed one before an undecided one."""


@dataclass(frozen=True, slots=True)
class AttemptLine:
    """An attempt in a list. `snippet` begins `start` characters into its text of `length`; `verdict` as in VERDICTS."""

    attempt_id: str
    run_id: str
    iteration: int
    step: str
    question: str | None
    gold: str | None
    stratum: str | None
    hinted: bool
    snippet: str
    start: int
    length: int
    tokens: int | None
    verdict: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class AttemptPage:
    """A page of a search."""

    lines: list[AttemptLine]
    found: Found


def find_attempts(
    lineage: Lineage, catalogue: Catalogue, wanted: Filter, after: str | None = None, budget_s: float = BUDGET_S
) -> AttemptPage:
    """The next page of attempts, the newest first."""
    batches = batches_of(catalogue, wanted)
    once = _chosen_problems(lineage, wanted)
    plain = all_of([*_conditions(wanted), *once])

    def look(pieces: Sequence[Batch], count: int) -> list[Hit]:
        return _hits(lineage, catalogue, wanted, plain, pieces, count)

    found = look_through(batches, look, after, budget_s=budget_s)
    return AttemptPage(
        read_lines(lineage, catalogue, found.rows, wanted.text if wanted.within != "question" else ""), found
    )


def batches_of(catalogue: Catalogue, wanted: Filter) -> list[Batch]:
    """Where the attempts can lie, the newest first."""
    if wanted.run:
        run = next((one for one in catalogue.runs if one.startswith(wanted.run)), wanted.run)
        batches = catalogue.attempts.of(run, wanted.iteration, wanted.origin or None)
    else:
        batches = [
            one for one in catalogue.attempts.owned
            if wanted.iteration in (None, one.iteration) and wanted.origin in ("", one.step)
        ]  # fmt: skip
    return batches[::-1]


def read_lines(
    lineage: Lineage, catalogue: Catalogue, rows: Sequence[tuple[int, Batch]], text: str = ""
) -> list[AttemptLine]:
    """The lines of these rows, in their order."""
    if not rows:
        return []
    numbers = [row for row, _ in rows]
    column, needle = ("a.text", text) if text != text.lower() else ("lower(a.text)", text)
    query = (
        f"select rowid, attempt_id, problem_id, prompt_id, tokens, length(text), start - 1, substr(text, start, {SNIPPET}) from "
        f"(select a.rowid, a.*, greatest(strpos({column}, ?) - 60, 1) as start from attempt a where a.rowid in (select unnest(?::bigint[])))"
    )
    read = {row[0]: row[1:] for row in lineage.rows(query, [needle, numbers])}
    # One question each: together, DuckDB would look through all problems' texts for those of a page.
    problems = {
        row[0]: row[1:]
        for row in lineage.rows(
            f"select problem_id, left(question, 300), left(gold, 120), stratum from problem where {whose('problem', _AMONG.format('problem'))}",
            [[row[1] for row in read.values()]],
        )
    }
    hints = dict(
        lineage.rows(
            f"select prompt_id, hinted from prompt where {_AMONG.format('prompt')}", [[row[2] for row in read.values()]]
        )
    )
    placed: dict[tuple[str, int], list[str]] = {}
    for row, batch in rows:
        if row in read:
            placed.setdefault((batch.run_id, batch.iteration), []).append(read[row][0])
    outcomes = outcomes_of(lineage, catalogue, placed)
    lines = []
    for row, batch in rows:
        if row in read:
            attempt_id, problem_id, prompt_id, tokens, length, start, snippet = read[row]
            question, gold, stratum = problems.get(problem_id, (None, None, None))
            verdict, reason = outcomes.get((batch.run_id, batch.iteration, attempt_id), ("none", None))
            lines.append(
                AttemptLine(
                    attempt_id, batch.run_id, batch.iteration, batch.step, question, gold, stratum, hints.get(prompt_id, False),
                    snippet, start, length, tokens, verdict, reason,
                )
            )  # fmt: skip
    return lines


def outcomes_of(
    lineage: Lineage, catalogue: Catalogue, placed: dict[tuple[str, int], list[str]]
) -> dict[tuple[str, int, str], tuple[str, str | None]]:
    """What each iteration's verdict on its attempts was, with the reason; those without one are missing."""
    groups = list(placed)
    if not groups:
        return {}
    query = (
        "with wanted as (select unnest(?::integer[]) as piece, unnest(?::uuid[]) as attempt_id) "
        f"select v.piece, v.attempt_id, min(code), arg_min(reason, code) from ({_verdicts(catalogue, groups)}) v "
        "join wanted using (piece, attempt_id) group by 1, 2"
    )
    given = [(n, one) for n, group in enumerate(groups) for one in placed[group]]
    names = ("rejected", "undecided", "passed")
    return {
        (*groups[n], attempt_id): (names[code], reason)
        for n, attempt_id, code, reason in lineage.rows(query, [[n for n, _ in given], [one for _, one in given]])
    }


def _verdicts(catalogue: Catalogue, groups: Sequence[tuple[str, int]]) -> str:
    """The SQL for the verdicts that each of these iterations acted on."""
    return " union all ".join(
        f"select {n} as piece, v.attempt_id, {CODE} as code, v.reason from verdict v where {judged_by(catalogue, run, iteration)}"
        for n, (run, iteration) in enumerate(groups)
    )


CODE = "case when not passed then 0 when passed is null then 1 else 2 end"


def judged_by(catalogue: Catalogue, run: str, iteration: int) -> str:
    """The SQL for the verdicts that an iteration acted on: second opinions (`audit …`) are not among them."""
    if not run:
        return "true"
    batches = catalogue.verdicts.of(run, iteration)
    return within("v.rowid", [one.rows for one in batches if not one.step.startswith("audit")])


def _hits(
    lineage: Lineage, catalogue: Catalogue, wanted: Filter, plain: Condition, pieces: Sequence[Batch], count: int
) -> list[Hit]:
    """The first rows that fit in the pieces. Each piece's attempts are judged by the verdicts of its own iteration."""
    which = " ".join(
        f"when a.rowid between {one.rows.low} and {one.rows.high} then {n}" for n, one in enumerate(pieces)
    )
    rows = f"(select a.rowid as place, case {which} end as piece, a.* from attempt a where {within('a.rowid', [p.rows for p in pieces])})"
    fit = f"select place, piece, attempt_id from {rows} a where {plain.sql}"
    if not wanted.verdict and wanted.reason is None:
        found = lineage.rows(
            f"select piece, place from ({fit}) order by piece, place desc limit {count}", list(plain.given)
        )
        return [Hit(*row) for row in found]
    outcome = [OUTCOMES[wanted.verdict]] if wanted.verdict else []
    reason = [wanted.reason] if wanted.reason is not None else []
    if reason:
        outcome.append("coalesce(reason, '') = ?")
    verdicts = _verdicts(catalogue, [(one.run_id, one.iteration) for one in pieces])
    query = (
        f"with hit as materialized ({fit}), judged as (select v.piece, v.attempt_id, min(code) as outcome, "
        f"arg_min(reason, code) as reason from ({verdicts}) v where v.attempt_id in (select attempt_id from hit) "
        "group by v.piece, v.attempt_id) "
        f"select piece, place from hit left join judged using (piece, attempt_id) where {' and '.join(outcome)} "
        f"order by piece, place desc limit {count}"
    )
    return [Hit(*row) for row in lineage.rows(query, [*plain.given, *reason])]


def _conditions(wanted: Filter) -> list[Condition]:
    conditions = []
    for name, digits in (("attempt_id", wanted.id), ("checkpoint_id", wanted.checkpoint), ("problem_id", wanted.problem),
                         ("prompt_id", wanted.prompt)):  # fmt: skip
        if digits:
            conditions.append(begins(f"a.{name}", digits))
    if wanted.text and wanted.within != "question":
        conditions.append(said("a.text", wanted.text))
    return conditions


def _chosen_problems(lineage: Lineage, wanted: Filter) -> list[Condition]:
    """Which problems fit, found out once and not in every window."""
    about = [Condition("stratum = ?", (wanted.stratum,))] if wanted.stratum else []
    if wanted.text and wanted.within == "question":
        about.append(said("question", wanted.text))
    if not about:
        return []
    which = all_of(about)
    lineage.rows(
        f"create or replace temp table chosen as select distinct problem_id from problem where {which.sql}",
        list(which.given),
    )
    return [Condition("a.problem_id in (select problem_id from chosen)")]
