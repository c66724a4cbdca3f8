"""What was forgotten, as tasks ask for it: by digest, without a database, from `shards/tombstone`.

    >>> tombstones = Tombstones.of(home)
    >>> tombstones.bar_problem(problem), tombstones.bar_text(problem, "890A000000A")
    (False, True)

Every shard of tombstones counts, also one whose event never came: better a text too few than a forgotten one again.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

import pyarrow as pa

from storage.home import Home
from storage.identity import digest
from storage.records import Problem, Tombstone
from storage.shards import Shards

ROWS = ("problem", "prompt", "attempt", "verdict", "example")
"""Tables whose rows hold text, and go when it is forgotten. Others hold ids alone, and stay."""

REQUEST, SOURCE, QUESTION, TEXT = "request", "source", "question", "text"

WHY = "forgotten: a text that must not be kept stood here"
"""The error of an attempt that is not made, or not kept, because of a tombstone."""


def question_digest(question: str) -> str:
    return digest("forgotten question", question)


def source_digest(source: str) -> str:
    return digest("forgotten source", source)


def text_digest(question: str, text: str) -> str:
    """An answer to a question, whichever problem set asks it."""
    return digest("forgotten text", question, text)


@dataclass(slots=True)
class Tombstones:
    """The tombstones of a home, by kind."""

    ids: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, home: Home) -> Self:
        """Read from the files; a folder that is not there is nothing forgotten."""
        ids: dict[str, set[str]] = {}
        shards = Shards(home)
        for path in sorted((home.shards / Tombstone.TABLE).glob("[!.]*.parquet")):
            columns = shards.verified(path.stem, Tombstone.TABLE)
            for identity, kind in zip(column_ids(columns, "tombstone_id"), columns["kind"].to_pylist(), strict=True):
                ids.setdefault(kind, set()).add(identity)
        return cls(ids)

    def __bool__(self) -> bool:
        return bool(self.ids)

    def has(self, kind: str, identity: str) -> bool:
        return identity in self.ids.get(kind, ())

    def bar_problem(self, problem: Problem) -> bool:
        """Whether a problem must not be posed: itself, its question, its source or its worked solution is forgotten."""
        if not self.ids:
            return False
        return (
            self.has("problem", problem.problem_id)
            or (QUESTION in self.ids and self.has(QUESTION, question_digest(problem.question)))
            or (SOURCE in self.ids and self.has(SOURCE, source_digest(problem.source)))
            or (problem.rationale is not None and self.bar_text(problem, problem.rationale))
        )

    def bar_text(self, problem: Problem, text: str) -> bool:
        """Whether this answer to this problem must not be kept."""
        return TEXT in self.ids and self.has(TEXT, text_digest(problem.question, text))


def column_ids(columns: pa.Table, name: str) -> list[str]:
    """An id column as 32 hex digits each."""
    column = columns.column(name)
    return [value.hex() for chunk in column.chunks for value in chunk.storage.to_pylist()]


def kept_rows(table: str, columns: pa.Table, tombstones: Tombstones) -> pa.Table:
    """The rows of a shard that are not forgotten, in their order."""
    gone = tombstones.ids.get(table, set())
    keep = [identity not in gone for identity in column_ids(columns, f"{table}_id")]
    return columns.filter(pa.array(keep))


def texts_in(table: str, columns: pa.Table, tombstones: Tombstones) -> Iterator[str]:
    """The texts of the forgotten rows of a shard: what is looked for elsewhere."""
    gone = tombstones.ids.get(table, set())
    lost = columns.filter(pa.array([identity in gone for identity in column_ids(columns, f"{table}_id")]))
    for name in TEXTS.get(table, ()):
        texts = [text for text in lost.column(name).unique().to_pylist() if text]
        yield from (t for t in texts if name != "question" or tombstones.has(QUESTION, question_digest(t)))


TEXTS: dict[str, tuple[str, ...]] = {
    "problem": ("question", "rationale"),
    "prompt": ("text",),
    "attempt": ("text",),
    "example": ("completion",),
}
"""Columns whose text is somebody's: gold answers, read answers and reasons are too short to be told from other text."""


def tombstone_rows(found: Mapping[str, Iterable[str]]) -> list[Tombstone]:
    """A tombstone for each digest, by kind."""
    return [Tombstone(identity, kind) for kind in sorted(found) for identity in sorted(found[kind])]
