"""One thing with what stands right beside it: an attempt with its verdicts, an example with its evidence, and so on.

Tables have no index: a look-up by id reads that column of the whole table, some 70 ms for ten million attempts. So each
function asks for what it needs in as few looks as it can, and graphs are made of what was read here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from storage.errors import UserMistake
from storage.explorer.attempts import CODE
from storage.explorer.batches import Batch
from storage.explorer.catalogue import Catalogue
from storage.explorer.filters import whose
from storage.lineage import Lineage
from storage.records import Attempt, Example, Problem, Prompt

TEXT_SHOWN = 20_000
"""Characters of a text that a page shows at once; the rest is paged."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict."""

    verdict_id: str
    attempt_id: str
    verifier: str
    version: str
    aspect: str
    passed: bool | None
    score: float | None
    answer: str | None
    reason: str | None

    @property
    def outcome(self) -> str:
        return {True: "passed", False: "rejected", None: "undecided"}[self.passed]


@dataclass(frozen=True, slots=True)
class Piece:
    """Evidence for an example."""

    example_id: str
    problem_id: str
    origin: str
    attempt_id: str | None
    verdict_id: str | None


@dataclass(frozen=True, slots=True)
class Derived:
    """That an attempt was made from another; `role`: rationalizes, …"""

    child_id: str
    parent_id: str
    role: str


@dataclass(frozen=True, slots=True)
class Told:
    """An attempt with what it answered and how it was judged. `length` is the text's, of which at most TEXT_SHOWN is here."""

    attempt: Attempt
    length: int
    row: int
    prompt: Prompt | None
    problem: Problem | None
    verdicts: list[Judged]


@dataclass(frozen=True, slots=True)
class AttemptDetails:
    """An attempt, what it was made from and what was made from it."""

    told: Told
    placed: list[Batch]
    parents: list[Told]
    children: list[Told]
    roles: dict[str, str]
    evidence: list[Piece]


@dataclass(frozen=True, slots=True)
class Member:
    """A place in a training set."""

    mix_id: str
    position: int
    role: str
    weight: float


@dataclass(frozen=True, slots=True)
class ExampleDetails:
    """An example with the evidence for it and the training sets that it stands in."""

    example: Example
    evidence: list[Piece]
    told: dict[str, Told]
    members: list[Member]


_COLUMNS = "attempt_id, request_id, problem_id, prompt_id, checkpoint_id, engine, sampling, sample_index, seed"


def read_attempts(lineage: Lineage, ids: Sequence[str]) -> dict[str, Told]:
    """Attempts by id, with prompt, problem and verdicts; an id that is none is missing."""
    rows = lineage.rows(
        f"select rowid, length(text), {_COLUMNS}, left(text, {TEXT_SHOWN}), finish_reason, prompt_tokens, tokens, logprob, error "
        f"from attempt where {whose('attempt', 'attempt_id in (select unnest(?::uuid[]))')}", [list(ids)],
    )  # fmt: skip
    attempts = {row[2]: (Attempt(*row[2:]), row[1], row[0]) for row in rows}
    problems = _by_id(lineage, Problem, "problem", [one.problem_id for one, _, _ in attempts.values()])
    prompts = _by_id(lineage, Prompt, "prompt", [one.prompt_id for one, _, _ in attempts.values()])
    verdicts: dict[str, list[Judged]] = {}
    for one in read_verdicts(lineage, list(attempts)):
        verdicts.setdefault(one.attempt_id, []).append(one)
    return {
        identity: Told(
            one, length, row, prompts.get(one.prompt_id), problems.get(one.problem_id), verdicts.get(identity, [])
        )
        for identity, (one, length, row) in attempts.items()
    }


def read_verdicts(lineage: Lineage, attempt_ids: Sequence[str]) -> list[Judged]:
    """All verdicts on these attempts, those that decide first."""
    rows = lineage.rows(
        "select verdict_id, attempt_id, verifier, verifier || '@' || left(replace(verifier_digest::varchar, '-', ''), 8), aspect, passed, "
        f"score, answer, reason from verdict where attempt_id in (select unnest(?::uuid[])) order by aspect, {CODE}, verdict_id",
        [list(attempt_ids)],
    )
    return [Judged(*row) for row in rows]


def attempt_details(lineage: Lineage, catalogue: Catalogue, attempt_id: str) -> AttemptDetails:
    """Everything about an attempt. Raises UserMistake if there is none."""
    links = [
        Derived(*row)
        for row in lineage.rows(
            "select child_id, parent_id, role from derivation where child_id = ?::uuid or parent_id = ?::uuid order by all limit 40",
            [attempt_id, attempt_id],
        )
    ]
    parents = [one.parent_id for one in links if one.child_id == attempt_id]
    children = [one.child_id for one in links if one.parent_id == attempt_id]
    told = read_attempts(lineage, [attempt_id, *parents, *children])
    if attempt_id not in told:
        raise nothing(lineage, "attempt", attempt_id)
    return AttemptDetails(
        told=told[attempt_id],
        placed=catalogue.attempts.holding(told[attempt_id].row),
        parents=[told[one] for one in parents if one in told],
        children=[told[one] for one in children if one in told],
        roles={one.parent_id if one.child_id == attempt_id else one.child_id: one.role for one in links},
        evidence=read_evidence(lineage, "attempt_id", attempt_id),
    )


def example_details(lineage: Lineage, example_id: str) -> ExampleDetails:
    """Everything about an example. Raises UserMistake if there is none."""
    found = _by_id(lineage, Example, "example", [example_id])
    if not found:
        raise nothing(lineage, "example", example_id)
    evidence = read_evidence(lineage, "example_id", example_id)
    return ExampleDetails(
        example=found[example_id],
        evidence=evidence,
        told=read_attempts(lineage, [one.attempt_id for one in evidence[:20] if one.attempt_id]),
        members=read_members(lineage, [example_id]).get(example_id, []),
    )


def read_evidence(lineage: Lineage, column: str, identity: str) -> list[Piece]:
    """Evidence by example, attempt or problem."""
    query = f"select example_id, problem_id, origin, attempt_id, verdict_id from example_evidence where {column} = ?::uuid order by all limit 200"
    return [Piece(*row) for row in lineage.rows(query, [identity])]


def read_members(lineage: Lineage, example_ids: Sequence[str]) -> dict[str, list[Member]]:
    """The places of examples in training sets."""
    query = (
        "select example_id, mix_id, position, role, weight from mix_member where example_id in (select unnest(?::uuid[])) "
        "order by mix_id, position limit 1000"
    )
    found: dict[str, list[Member]] = {}
    for example_id, *rest in lineage.rows(query, [list(example_ids)]):
        found.setdefault(example_id, []).append(Member(*rest))
    return found


def read_problem(lineage: Lineage, problem_id: str) -> Problem:
    """A problem. Raises UserMistake if there is none."""
    found = _by_id(lineage, Problem, "problem", [problem_id])
    if not found:
        raise nothing(lineage, "problem", problem_id)
    return found[problem_id]


def read_prompt(lineage: Lineage, prompt_id: str) -> Prompt:
    """A prompt. Raises UserMistake if there is none."""
    found = _by_id(lineage, Prompt, "prompt", [prompt_id])
    if not found:
        raise nothing(lineage, "prompt", prompt_id)
    return found[prompt_id]


def composition(lineage: Lineage, mix_id: str) -> list[tuple[str, int]]:
    """How many rows of each origin a training set has. Raises UserMistake if there is no such set."""
    rows = lineage.rows(
        "select role, count(*) from mix_member where mix_id = ?::uuid group by role order by 2 desc, 1", [mix_id]
    )
    if not rows and not lineage.rows("select 1 from mix where mix_id = ?::uuid", [mix_id]):
        raise nothing(lineage, "mix", mix_id)
    return [(role, count) for role, count in rows]


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of a long text: `text` begins `start` characters into it."""

    text: str
    start: int
    length: int


SLICED = {"attempt": ("text", "error"), "example": ("prompt", "completion"), "prompt": ("text",),
          "problem": ("question", "rationale", "info")}  # fmt: skip


def read_slice(lineage: Lineage, kind: str, identity: str, field: str, start: int, count: int) -> Slice:
    """So many characters of a text. Raises UserMistake if there is no such thing or text."""
    if field not in SLICED.get(kind, ()):
        raise UserMistake(
            f"no text {field[:40]!r} of {kind[:40]!r}; there are: {', '.join(f'{k} {f}' for k, fs in SLICED.items() for f in fs)}"
        )
    rows = lineage.rows(
        f"select substr({field}, ?, ?), length({field}) from {kind} where {whose(kind, f'{kind}_id = ?::uuid')}",
        [start + 1, count, identity],
    )
    if not rows or rows[0][0] is None:
        raise nothing(lineage, kind, identity)
    return Slice(rows[0][0], start, rows[0][1])


def nothing(lineage: Lineage, kind: str, identity: str) -> UserMistake:
    """What to say where nothing has this id: that it was forgotten, or what is nearest to it."""
    try:
        lineage.find(identity, (kind,))
    except UserMistake as mistake:
        return mistake
    return UserMistake(f"there is no {kind} {identity}")


def _by_id(lineage: Lineage, record: Any, table: str, ids: Sequence[str]) -> dict[str, Any]:
    if not ids:
        return {}
    where = whose(table, f"{table}_id in (select unnest(?::uuid[]))")
    return {
        getattr(one, f"{table}_id"): one for one in lineage.read(record, table, where, [list(set(ids))], f"{table}_id")
    }
