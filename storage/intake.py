"""Rows of a user's own file (JSONL or Parquet) as rows of the ledger: problems, attempts or examples.

    {"question": "2+2", "gold": "4", "prompt": "2+2=", "text": "4", "model": "llama-3-8b", "finish_reason": "stop", "tokens": 2}
    {"prompt": "2+2=", "completion": "4"}

The source and the licence stand on the problem of every row. Whoever wrote an attempt becomes a checkpoint of kind
`external`, so that references hold. Extra columns of problems are kept in `info`; of attempts and examples they are left out.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.errors import UserMistake
from storage.identity import content_id, digest
from storage.records import Attempt, Checkpoint, Example, ExampleEvidence, Problem, Prompt, Record
from storage.tombstones import Tombstones

FIELDS: dict[str, dict[str, str]] = {
    "problems": {"question": "text", "gold": "text?", "rationale": "text?", "stratum": "text?", "split": "text?"},
    "attempts": {
        "question": "text", "text": "text", "gold": "text?", "prompt": "text?", "model": "text?", "finish_reason": "text?",
        "prompt_tokens": "count?", "tokens": "count?", "split": "text?",
    },
    "examples": {"prompt": "text", "completion": "text", "question": "text?", "gold": "text?", "split": "text?"},
}  # fmt: skip
"""What each kind of row takes, and as what; a question mark: may be missing or null."""

SPLITS = ("train", "dev", "test")
FINISHES = ("stop", "length")
IMPORTED = "imported"
TEMPLATE = digest("imported prompt")


@dataclass(frozen=True, slots=True)
class Intake:
    """What is to be taken in, and as what. `columns`: our field to the file's column, where they differ."""

    path: Path
    kind: str
    source: str
    licence: str
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in FIELDS:
            raise UserMistake(f"no kind of row {self.kind!r}; give --as {', --as '.join(FIELDS)}")
        if unknown := sorted(self.columns.keys() - FIELDS[self.kind].keys()):
            raise UserMistake(f"{self.kind} have no field {unknown[0]!r}; they have: {', '.join(FIELDS[self.kind])}")
        if not self.source.strip():
            raise UserMistake("a source needs a name; give --source NAME")


@dataclass(slots=True)
class Taken:
    """What became of the rows so far. `rejected`: by reason; `lines`: the first of each."""

    asked: int = 0
    ok: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    lines: dict[str, int] = field(default_factory=dict)
    _turns: Counter[str] = field(default_factory=Counter)
    _once: set[str] = field(default_factory=set)

    def reject(self, line: int, why: str) -> None:
        self.rejected[why] += 1
        self.lines.setdefault(why, line)

    def new(self, identity: str) -> bool:
        """Whether this id comes for the first time."""
        known = identity in self._once
        self._once.add(identity)
        return not known

    def turn(self, request: str) -> int:
        """How often this has been asked before."""
        self._turns[request] += 1
        return self._turns[request] - 1


class BadRow(Exception):
    """What is wrong with a row, in a few words."""


def records(intake: Intake, tombstones: Tombstones, taken: Taken, *, skip_bad: bool = False) -> Iterator[Record]:
    """The rows' records, in order, each once; `taken` counts along.

    Raises UserMistake at the first row that does not fit, unless `skip_bad`, which counts it as rejected.
    """
    make = {"problems": _problem, "attempts": _attempt, "examples": _example}[intake.kind]
    for line, row in rows(intake.path):
        taken.asked += 1
        try:
            fields = _fields(intake, row)
            made = make(intake, fields, row, taken)
        except BadRow as bad:
            if not skip_bad:
                raise UserMistake(
                    f"{intake.path} line {line}: {bad}; nothing was imported; mend it, or leave such rows out with --skip-bad"
                ) from bad
            taken.reject(line, str(bad))
            continue
        if why := _barred(made, tombstones):
            taken.reject(line, why)
        elif not taken.new(_identity(made)):
            taken.reject(line, "the same row stands in the file before")
        else:
            taken.ok += 1
            last = made[-1]
            yield from (one for one in made[:-1] if taken.new(_identity([one])))
            yield last


def rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Every row of the file with its number, from 1. Raises UserMistake for a file that cannot be read."""
    if path.suffix == ".parquet":
        yield from _parquet_rows(path)
        return
    try:
        with path.open(encoding="utf-8") as stream:
            for line, text in enumerate(stream, start=1):
                if text.strip():
                    yield line, _json(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserMistake(f"{path} cannot be read ({error}); give a JSONL or Parquet file") from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        line = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=8192):
                for row in batch.to_pylist():
                    line += 1
                    yield line, row
    except (OSError, pa.ArrowException) as error:
        raise UserMistake(
            f"{path} cannot be read ({str(error).splitlines()[0]}); give a JSONL or Parquet file"
        ) from error


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        return BadRow(f"it is no JSON ({error})")


def _fields(intake: Intake, row: Any) -> dict[str, Any]:
    """Our fields of a row, each checked."""
    if isinstance(row, BadRow):
        raise row
    if not isinstance(row, dict):
        raise BadRow(f"it is a {type(row).__name__}, and a row is an object")
    found: dict[str, Any] = {}
    for name, kind in FIELDS[intake.kind].items():
        column = intake.columns.get(name, name)
        value = row.get(column)
        if value is None:
            if not kind.endswith("?"):
                raise BadRow(f"it has no {column!r}; it has: {', '.join(map(str, row)) or 'nothing'}")
        elif kind.startswith("count"):
            if type(value) is not int or value < 0:
                raise BadRow(f"{column!r} is {value!r:.40}, and a count was expected")
        else:
            value = _text(column, value)
        found[name] = value
    if found["split"] not in (None, *SPLITS):
        raise BadRow(f"{found['split']!r:.40} is no split; give one of: {', '.join(SPLITS)}")
    return found


def _text(column: str, value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    if not isinstance(value, str):
        raise BadRow(f"{column!r} is a {type(value).__name__}, and a text was expected")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRow(f"{column!r} holds half of a character, which no UTF-8 file can keep") from error
    return value


def _problem(intake: Intake, fields: dict[str, Any], row: dict[str, Any], taken: Taken) -> list[Record]:
    del taken
    own = {intake.columns.get(name, name) for name in FIELDS["problems"]}
    info = {str(name): value for name, value in row.items() if name not in own and value is not None}
    try:
        return [_posed(intake, fields, info=info, rationale=fields["rationale"], stratum=fields["stratum"] or "")]
    except (TypeError, ValueError) as error:
        raise BadRow(f"its other columns are no plain JSON ({error})") from error


def _attempt(intake: Intake, fields: dict[str, Any], row: dict[str, Any], taken: Taken) -> list[Record]:
    """Several attempts of one model at one prompt are samples 0, 1, … in the file's order."""
    del row
    problem = _posed(intake, fields)
    text = fields["prompt"] or fields["question"]
    prompt = Prompt.of(text, IMPORTED, TEMPLATE, False)
    model = fields["model"] or f"unknown ({intake.source})"
    identity = content_id("checkpoint", external=model)
    writer = Checkpoint(identity, "external", digest("external weights", model), "{}", None, None, model)
    finish = fields["finish_reason"] or "stop"
    if finish not in FINISHES:
        raise BadRow(f"finish_reason is {finish!r:.40}; give one of: {', '.join(FINISHES)}")
    sample = taken.turn(content_id("imported", problem=problem.problem_id, prompt=text, model=identity))
    request = Attempt.request(problem.problem_id, text, identity, IMPORTED, "{}", sample, 0)
    attempt = Attempt(
        Attempt.identity(request, IMPORTED, fields["text"], finish), request, problem.problem_id, prompt.prompt_id, identity, IMPORTED,
        "{}", sample, 0, fields["text"], finish, fields["prompt_tokens"] or 0, fields["tokens"] or 0,
    )  # fmt: skip
    return [problem, prompt, writer, attempt]


def _example(intake: Intake, fields: dict[str, Any], row: dict[str, Any], taken: Taken) -> list[Record]:
    """Its problem is its question, or its prompt where it has none, with the completion as the worked solution."""
    del row, taken
    question = fields["question"] or fields["prompt"]
    problem = _posed(intake, fields | {"question": question}, rationale=fields["completion"])
    example = Example.of(fields["prompt"], fields["completion"])
    return [problem, example, ExampleEvidence(example.example_id, problem.problem_id, IMPORTED)]


def _posed(intake: Intake, fields: dict[str, Any], **more: Any) -> Problem:
    if not fields["question"].strip():
        raise BadRow("its question is empty")
    return Problem.of(
        intake.source, fields["split"] or "train", fields["question"], fields["gold"], licence=intake.licence, **more
    )


def _barred(made: list[Record], tombstones: Tombstones) -> str | None:
    problem = made[0]
    assert isinstance(problem, Problem)
    for one in made:
        barred = (isinstance(one, Attempt) and tombstones.bar_text(problem, one.text)) or (
            isinstance(one, Example) and tombstones.has("example", one.example_id)
        )
        if barred or tombstones.bar_problem(problem):
            return "it was forgotten"
    return None


def _identity(made: list[Record]) -> str:
    """The id of the last record: what the row is."""
    last = made[-1]
    return f"{last.TABLE} {getattr(last, 'evidence_id', None) or getattr(last, f'{last.TABLE}_id')}"
