"""A few real texts out of thousands, chosen to teach: what was kept, what was rejected and why, what a hint did.

The choice is by rule, so the same ledger shows the same texts: the latest iteration that has one, the stratum that was
hardest for the base, a text of middling length, then the id.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb

from storage.identity import show
from storage.report.arms import Arm, rows


@dataclass(frozen=True, slots=True)
class Panel:
    """A text with the prompt before it. `mark`: right, wrong, undecided or stored. `shared`: how many characters it begins
    with in common with the text beside it, None where there is nothing to compare."""

    title: str
    prompt: str | None
    text: str | None
    mark: str
    note: str = ""
    shared: int | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """One teaching example. `kind` is its class in the style sheet; `facts` are name and value; `trained`: its id has a
    lineage."""

    kind: str
    title: str
    why: str
    facts: list[tuple[str, str | None]]
    panels: list[Panel] = field(default_factory=list)
    id: str | None = None
    trained: bool = False


_ATTEMPT = (
    "select a.iteration, a.attempt_id, a.question, a.gold, a.stratum, a.prompt, a.text, a.passed, a.answer, a.reason "
    "from v_attempt a {more} where a.run_id = $run and coalesce(a.split, '') not in ('dev', 'test', 'check') and {which} "
    "order by a.iteration desc, coalesce(list_position($hard::varchar[], a.stratum), 1000), "
    "abs(length(a.text) - (select median(length(text)) from attempt)), a.attempt_id limit 1"
)
_HELD_OUT = (
    "with seen as (select e.iteration, i.*, first_value(e.iteration) over w as start, last_value(e.iteration) over w as ending, "
    "t.text as prompt from v_evaluation e join v_evaluation_item i using (evaluation_id) "
    "join attempt a on a.attempt_id = i.attempt_id join prompt t on t.prompt_id = a.prompt_id "
    "where e.run_id = $run and e.split = 'dev' "
    "window w as (order by e.iteration rows between unbounded preceding and unbounded following)) "
    "select b.iteration, a.iteration, a.question, a.gold, a.stratum, a.prompt, b.text, b.answer, a.text, a.answer "
    "from seen b join seen a using (problem_id) where {which} "
    "order by a.iteration desc, coalesce(list_position($hard::varchar[], a.stratum), 1000), a.problem_id limit 1"
)


def teaching_examples(cursor: duckdb.DuckDBPyConnection, arm: Arm) -> list[Shown]:
    """At most eight, in the order in which they are best read; empty where nothing was attempted."""
    reader = _Reader(cursor, arm)
    found = [
        reader.kept(),
        reader.rationalized(),
        *reader.rejected(),
        reader.wrong_step(),
        reader.undecided(),
        reader.learned(),
        reader.lost(),
    ]
    return [one for one in found if one]


class _Reader:
    def __init__(self, cursor: duckdb.DuckDBPyConnection, arm: Arm) -> None:
        self._cursor = cursor
        self._given = {"run": arm.run.run_id, "hard": arm.hardest_first}
        unfiltered = arm.run.config.get("train_on") == "everything"
        self._fate = (
            "This run trains on it all the same." if unfiltered else "It stays in the ledger and is not trained on."
        )

    def kept(self) -> Shown | None:
        more = "join (select distinct attempt_id from v_mix_source) s using (attempt_id)"
        right = "a.passed and not a.hinted"
        sound = f"{right} and not exists (from verdict v where v.attempt_id = a.attempt_id and v.passed = false)"
        row = self._attempt(sound, more) or self._attempt(right, more)
        if row is None:
            return None
        why = "The model reached the gold answer by itself. Prompt and answer became a training example, exactly as they stand here."
        return self._shown("kept", "Kept", why, row, "right", trained=True)

    def rejected(self) -> list[Shown]:
        """One for each of the two most frequent reasons."""
        query = (
            "select reason, count(*) from v_attempt where run_id = ? and passed = false and not hinted "
            "and coalesce(split, '') not in ('dev', 'test', 'check') group by reason order by 2 desc, 1 limit 2"
        )
        found = []
        for reason, count in rows(self._cursor, query, [self._given["run"]]):
            wrong = "a.passed = false and not a.hinted and a.reason is not distinct from $reason"
            row = self._attempt(wrong, reason=reason)
            why = f"One of {count:,} attempts rejected with this reason. {self._fate}"
            if row:
                found.append(self._shown("rejected", f"Rejected: {reason or 'no reason given'}", why, row, "wrong"))
        return found

    def undecided(self) -> Shown | None:
        row = self._attempt("a.passed is null and a.verdict_id is not null")
        why = "The verifier could not decide. That counts neither as right nor as wrong, and is never trained on."
        return self._shown("undecided", "Undecided", why, row, "undecided") if row else None

    def wrong_step(self) -> Shown | None:
        """Kept for its answer, although a step is wrong: what the filter lets through."""
        more = "join v_verdict s on s.run_id = a.run_id and s.iteration = a.iteration and s.attempt_id = a.attempt_id"
        row = self._attempt("a.passed and not a.hinted and s.aspect = 'steps' and s.passed = false", more)
        if row is None:
            return None
        why = "The answer is right, a step on the way is not. The filter looks at the answer, so this was kept all the same."
        query = "select reason from verdict where attempt_id = ? and aspect = 'steps' and passed = false limit 1"
        judged = rows(self._cursor, query, [row[1]])
        shown = self._shown("unsound", "Right answer, wrong step", why, row, "right")
        return replace(shown, facts=[*shown.facts, ("audit", judged[0][0] if judged else None)])

    def rationalized(self) -> Shown | None:
        """The failure, the retry that saw the answer, and what was stored of it."""
        query = (
            "select a.iteration, a.question, a.gold, a.stratum, f.text, f.reason, f.answer, f.prompt, a.prompt, a.text, "
            "x.prompt, x.completion, x.example_id from v_attempt a "
            "join v_mix_source s on s.attempt_id = a.attempt_id and s.origin = 'rationalized' join example x using (example_id) "
            "join derivation d on d.child_id = a.attempt_id "
            "join v_attempt f on f.attempt_id = d.parent_id and f.run_id = a.run_id and f.iteration = a.iteration "
            "where a.run_id = $run and a.hinted and a.passed order by a.iteration, "
            "coalesce(list_position($hard::varchar[], a.stratum), 1000), a.attempt_id limit 1"
        )
        row = self._one(query)
        if row is None:
            return None
        n, question, gold, stratum, text, reason, answer, prompt, hint, retry, stored, completion, example = row
        judged = ", ".join(part for part in (reason, f"it said {answer}" if answer else None) if part)
        shared = _shared(text, retry)
        panels = [
            Panel("1 · the failure", prompt, text, "wrong", judged, shared),
            Panel("2 · the retry, with the hint", hint, retry, "right", "the prompt gives the gold answer away", shared),
            Panel("3 · what was stored", stored, completion, "stored",
                  "the prompt without the hint: trained on as if the model had known" if stored != hint else "the hint is still in it"),
        ]  # fmt: skip
        why = "The model failed, saw the gold answer, and wrote a rationale that leads to it. The hint is dropped before training."
        return Shown(
            "hinted", "Rationalized", why, _facts(n, question, gold, stratum), panels, show("exm", example.hex), True
        )

    def learned(self) -> Shown | None:
        row = self._one(
            _HELD_OUT.format(
                which="b.iteration = b.start and a.iteration = a.ending and a.start < a.ending and b.passed = false and a.passed"
            )
        )
        why = "A held-out problem: the base got it wrong, the last checkpoint gets it right."
        return self._pair("learned", "Learned", why, row, ("wrong", "right"))

    def lost(self) -> Shown | None:
        row = self._one(_HELD_OUT.format(which="b.iteration = a.iteration - 1 and b.passed and a.passed = false"))
        why = "A held-out problem that one checkpoint solved and the next did not: what an average hides."
        return self._pair("lost", "Solved, then lost", why, row, ("right", "wrong"))

    def _pair(
        self, kind: str, title: str, why: str, row: tuple[Any, ...] | None, marks: tuple[str, str]
    ) -> Shown | None:
        if row is None:
            return None
        before, after, question, gold, stratum, prompt, text, answer, text_after, answer_after = row
        looks = ((before, text, answer, marks[0]), (after, text_after, answer_after, marks[1]))
        shared = _shared(text, text_after)
        panels = [
            Panel(f"iteration {n}" if n else "base", prompt, wrote, mark, f"answer {said}" if said else "", shared)
            for n, wrote, said, mark in looks
        ]
        return Shown(kind, title, why, _facts(None, question, gold, stratum), panels)

    def _shown(self, kind: str, title: str, why: str, row: tuple[Any, ...], mark: str, trained: bool = False) -> Shown:
        n, attempt_id, question, gold, stratum, prompt, text, _, answer, reason = row
        facts = _facts(n, question, gold, stratum)
        facts += [("its answer", answer)] if answer is not None else []
        facts += [("verdict", reason)] if reason else []
        panel = Panel("what the model wrote", prompt, text, mark)
        return Shown(kind, title, why, facts, [panel], show("att", attempt_id.hex), trained)

    def _attempt(self, which: str, more: str = "", **given: object) -> tuple[Any, ...] | None:
        return self._one(_ATTEMPT.format(which=which, more=more), **given)

    def _one(self, query: str, **given: object) -> tuple[Any, ...] | None:
        found = self._cursor.execute(query, self._given | given).fetchall()
        return found[0] if found else None


def _shared(one: str, other: str) -> int:
    ends = (place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1])
    return next(ends, min(len(one), len(other)))


def _facts(
    iteration: int | None, question: str | None, gold: str | None, stratum: str | None
) -> list[tuple[str, str | None]]:
    facts: Sequence[tuple[str, str | None]] = [
        ("iteration", None if iteration is None else str(iteration)), ("question", question), ("gold answer", gold),
        ("stratum", stratum or None),
    ]  # fmt: skip
    return [(name, value) for name, value in facts if value is not None]
