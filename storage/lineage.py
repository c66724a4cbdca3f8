"""Where things came from and what they went into: one typed function a question, on the snapshot.

    >>> with Lineage.open(home) as lineage:
    ...     lineage.yields(run_id)
    [Yield(iteration=1, attempts=4000, kept=1893, undecided=0, pass_rate=0.473, ...)]

Each answer is a view of the same name, so whatever is answered here can also be asked in SQL. Times are UTC. Ids are 32
hex digits; one that does not exist raises UserMistake with the nearest that do.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Self, TypeVar
from uuid import UUID

import duckdb
import pyarrow as pa

from storage.answers import (
    Ancestor,
    Descendant,
    ExampleLineage,
    Iteration,
    Link,
    Named,
    Parent,
    Run,
    Scored,
    Source,
    Step,
    Stratum,
    TrainingRow,
    Use,
    Yield,
)
from storage.database import DAMAGED, database_fault, views_digest
from storage.errors import StarloopError, UserMistake
from storage.events import Events
from storage.home import Home
from storage.identity import PREFIXES, bare, show
from storage.ledger import Ledger
from storage.query import ROW_LIMIT, TIME_LIMIT_S, Answer, ask, snapshot_cursor
from storage.records import Attempt, Checkpoint, Evaluation, Example

R = TypeVar("R")

NAMED = {"example": "example_id", "checkpoint": "checkpoint_id", "attempt": "attempt_id", "run": "run_id", "step": "step_id",
         "mix": "mix_id", "training": "training_id", "problem": "problem_id", "prompt": "prompt_id",
         "verdict": "verdict_id", "evaluation": "evaluation_id"}  # fmt: skip
"""What an id can name: table to column, in the order in which they are tried."""


class Lineage:
    """The snapshot, open for reading: the ledger as it was when it was opened, whatever a flow writes meanwhile."""

    def __init__(self, home: Home, connection: duckdb.DuckDBPyConnection) -> None:
        self.home = home
        self._connection = connection

    @classmethod
    def open(cls, home: Home, *, fresh: bool = False) -> Self:
        """The snapshot of a home; made first where there is none, or one of an older starloop.

        `fresh`: also where events have come since, for a person who asks once; a flow's own `publish` does for others. Of a
        home that cannot be written, the snapshot that is there.
        """
        if not _current(home, fresh) and (home.writable or not _current(home, False)):
            ledger = Ledger(home)
            try:
                ledger.publish(force=True)
            finally:
                ledger.close()
        return cls(home, snapshot_cursor(home))

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def runs(self) -> list[Run]:
        """Every run, the latest first."""
        return self.read(Run, "run", "true", [], "started_at desc, run_id")

    def arms(self, run_id: str) -> list[Run]:
        """A group's runs, in the order they ran; an arm that several groups have in common belongs to all of them."""
        group = self.run(run_id)
        listed: list[str] = group.facts.get("arms", [])
        members = [one for one in self.runs() if one.run_id in listed or one.parent_run_id == group.run_id]
        return sorted(
            members, key=lambda one: (listed.index(one.run_id) if one.run_id in listed else len(listed), one.started_at)
        )

    def run(self, run_id: str) -> Run:
        return self._one(Run, "run", "run", run_id)

    def steps(self, run_id: str) -> list[Step]:
        """A run's steps, in the order in which they were committed."""
        return self.read(Step, "v_step", "run_id = ?", [_id(run_id)], "event_seq")

    def computed(self, count: int) -> list[tuple[int, str, str]]:
        """The latest cells that were computed and not found cached, the earliest of them first: number, run's name, payload."""
        query = (
            "select e.seq, coalesce(r.name, ''), e.payload::varchar from event e left join run r "
            "on r.run_id = (e.payload->>'run_id')::uuid where e.kind = 'step_committed' and not (e.payload->>'hit')::boolean "
            "order by e.seq desc limit ?"
        )
        return self.rows(query, [count])[::-1]

    def iterations(self, run_id: str) -> list[Iteration]:
        """Each finished iteration's figures; 0 is the base."""
        return self.read(Iteration, "v_iteration", "run_id = ?", [_id(run_id)], "iteration")

    def yields(self, run_id: str) -> list[Yield]:
        """What became of each iteration's attempts, counted from the rows."""
        return self.read(Yield, "v_yield", "run_id = ?", [_id(run_id)], "iteration")

    def evaluations(self, run_id: str) -> list[Scored]:
        """A run's evaluations."""
        columns = ", ".join(field.name for field in fields(Evaluation))
        rows = self.rows(
            f"select iteration, step, {columns} from v_evaluation where run_id = ? order by 1, 2", [_id(run_id)]
        )
        return [Scored(row[0], row[1], Evaluation(*row[2:])) for row in rows]

    def per_stratum(self, evaluation_id: str) -> list[Stratum]:
        """An evaluation by stratum."""
        query = (
            "select stratum, count(*), count(*) filter (where passed), count(*) filter (where passed is null), "
            "sum(weight) filter (where passed) / nullif(sum(weight) filter (where passed is not null), 0) "
            "from v_evaluation_item where evaluation_id = ? group by stratum order by stratum"
        )
        return [
            Stratum(name, n, passed, undecided, accuracy if accuracy is not None or n == undecided else 0.0)
            for name, n, passed, undecided, accuracy in self.rows(query, [_id(evaluation_id)])
        ]

    def checkpoint(self, checkpoint_id: str) -> Checkpoint:
        return self._one(Checkpoint, "checkpoint", "checkpoint", checkpoint_id)

    def example_lineage(self, example_id: str) -> ExampleLineage:
        """Where an example came from, down to the base, and what it went into."""
        example = self._one(Example, "example", "example", example_id)
        where, given = "example_id = ?", [example.example_id]
        sources = (
            "(select s.example_id, s.mix_id, s.origin, s.problem_id, b.question, b.gold, s.attempt_id, a.text, s.prompt_id, "
            "t.text as prompt, t.hinted, s.verdict_id, v.verifier, v.passed, v.reason, s.checkpoint_id from v_mix_source s "
            "left join problem b using (problem_id) left join attempt a on a.attempt_id = s.attempt_id "
            "left join prompt t on t.prompt_id = s.prompt_id left join verdict v on v.verdict_id = s.verdict_id)"
        )
        return ExampleLineage(
            example,
            self.read(Source, sources, where, given, "mix_id, attempt_id"),
            self.read(Link, "v_example_lineage", where, given, "mix_id, depth, kind, id, relation, to_id"),
            self.read(Use, "v_example_use", where, given, "mix_id, position, checkpoint_id"),
        )

    def example_descendants(self, example_id: str) -> list[Descendant]:
        """Every checkpoint that an example is in the history of, nearest first."""
        given = [self._one(Example, "example", "example", example_id).example_id]
        return self.read(Descendant, "v_example_descendant", "example_id = ?", given, "depth, checkpoint_id")

    def checkpoint_ancestry(self, checkpoint_id: str) -> list[Ancestor]:
        """A checkpoint and every ancestor, nearest first, each with what it was directly made from."""
        identity = self.checkpoint(checkpoint_id).checkpoint_id
        query = (
            "select c.checkpoint_id, n.depth, c.kind, c.source, c.training_id, t.mix_id, m.rows, m.original_rows "
            "from v_checkpoint_ancestry n join checkpoint c on c.checkpoint_id = n.ancestor_id "
            "left join training t using (training_id) left join mix m using (mix_id) "
            "where n.checkpoint_id = ? order by n.depth, c.checkpoint_id"
        )
        parents: dict[str, list[Parent]] = {}
        for child, relation, parent, examples in self.rows(
            "select distinct checkpoint_id, relation, parent_id, examples from v_checkpoint_parent order by 1, 2, 3", []
        ):
            parents.setdefault(child, []).append(Parent(relation, parent, examples))
        return [Ancestor(*row[:8], parents=tuple(parents.get(row[0], ()))) for row in self.rows(query, [identity])]

    def training_set(self, checkpoint_id: str, limit: int | None = None) -> list[TrainingRow]:
        """What a checkpoint was trained on, in order."""
        identity = self.checkpoint(checkpoint_id).checkpoint_id
        order = f"position limit {int(limit)}" if limit is not None else "position"
        return self.read(TrainingRow, "v_checkpoint_training_set", "checkpoint_id = ?", [identity], order)

    def sources(self) -> list[str]:
        """Where the problems come from, by name."""
        return [row[0] for row in self.rows("select distinct source from problem order by 1", [])]

    def attempts_by_request(self, request_ids: Iterable[str], engine: str) -> dict[str, Attempt]:
        """The attempts that this engine already made for these requests; those that failed are left out, and asked again."""
        found = "select rowid from attempt where request_id in (select unnest(?::uuid[])) and engine = ? and finish_reason <> 'failed'"
        where = f"rowid in ({found})"  # so that no text is unpacked but theirs
        rows = self.read(Attempt, "attempt", where, [list(request_ids), engine], "attempt_id desc")
        return {attempt.request_id: attempt for attempt in rows}

    def count_attempts(
        self, problem_ids: Sequence[str], prompt_ids: Sequence[str], *, checkpoint_id: str, sampling: str, seed: int,
        engine: str, samples: range,
    ) -> int:  # fmt: skip
        """How many such attempts there are, failed ones left out; `engine` is how its name ends."""
        query = (
            "select count(distinct request_id) from attempt where checkpoint_id = ? and sampling = ? and seed = ? and "
            "sample_index >= ? and sample_index < ? and ends_with(engine, ?) and finish_reason <> 'failed' and "
            "problem_id in (select unnest(?::uuid[])) and prompt_id in (select unnest(?::uuid[]))"
        )
        if not _is_id(checkpoint_id):
            return 0
        given = [
            _id(checkpoint_id),
            sampling,
            seed,
            samples.start,
            samples.stop,
            engine,
            list(problem_ids),
            list(prompt_ids),
        ]
        return self.rows(query, given)[0][0]

    def find(self, text: str, kinds: Sequence[str] = tuple(NAMED)) -> Named:
        """What an id names, in full or as a prefix that only one has. Raises UserMistake with the nearest ids."""
        prefix, digits = text.strip().partition("_")[0], bare(text)
        wanted = [PREFIXES[prefix]] if PREFIXES.get(prefix) in kinds else list(kinds)
        found = [Named(kind, hit) for kind in wanted for hit in self._starting(kind, digits, 5)]
        if len(found) == 1 or (found and len(digits) == 32):
            return found[0]
        if found:
            raise UserMistake(f"{text!r} could be any of {_shown(found)}; give more of it")
        raise self._nothing(text, wanted)

    def nearest_ids(self, text: str, kinds: Sequence[str] = tuple(NAMED), count: int = 5) -> list[Named]:
        """The ids that share the longest beginning with `text`; none if they share not even two digits."""
        digits = bare(text)
        for length in range(min(len(digits), 32), 1, -1):
            found = [Named(kind, hit) for kind in kinds for hit in self._starting(kind, digits[:length], count)]
            if found:
                return found[:count]
        return []

    def query(self, sql: str, *, limit: int | None = ROW_LIMIT, timeout_s: float = TIME_LIMIT_S) -> Answer:
        """What a person asked in SQL; see `storage.query.ask`."""
        try:
            return ask(self._connection, sql, limit=limit, timeout_s=timeout_s)
        except DAMAGED as error:
            raise database_fault(error, self.home.lineage_db) from error

    def stream(self, query: str, given: list[Any], rows: int) -> Iterator[pa.RecordBatch]:
        """The rows of a query of our own as Arrow batches of at most so many; only one of them is in memory."""
        with self._connection.cursor() as cursor:
            cursor.execute("use lineage")
            reader: pa.RecordBatchReader = cursor.sql(query, params=given).to_arrow_reader(rows)
            yield from reader

    def _starting(self, kind: str, digits: str, count: int) -> list[str]:
        if not digits or len(digits) > 32 or not all(digit in "0123456789abcdef" for digit in digits):
            return []
        column = NAMED[kind]
        query = f"select distinct {column} from {kind} where {column} between ? and ? order by 1 limit {count}"
        return [row[0] for row in self.rows(query, [digits.ljust(32, "0"), digits.ljust(32, "f")])]

    def _nothing(self, text: str, kinds: Sequence[str]) -> UserMistake:
        if forgotten := self._forgotten(text, kinds):
            return forgotten
        nearest = self.nearest_ids(text, kinds, 3)
        what = kinds[0] if len(kinds) == 1 else "id"
        hint = f"the nearest: {_shown(nearest)}" if nearest else "list what there is with `starloop status`"
        return UserMistake(f"no {what} {text!r} in {self.home.root}; {hint}")

    def _forgotten(self, text: str, kinds: Sequence[str]) -> UserMistake | None:
        """What to say of an id whose row was erased."""
        query = (
            "select t.kind, e.happened_at, e.payload->>'reason' from tombstone t join member m on m.id = t.tombstone_id "
            "join event e on e.kind = 'forgotten' and list_contains((e.payload->'tombstones'->'shards')::varchar[], "
            "replace(m.digest::varchar, '-', '')) where t.tombstone_id = ? and t.kind in (select unnest(?))"
        )
        for kind, at, reason in self.rows(query, [_id(text), list(kinds)]) if _is_id(text) else []:
            return UserMistake(f"the {kind} {text!r} was forgotten on {at:%Y-%m-%d}: {reason}")
        return None

    def _one(self, record: type[R], table: str, kind: str, identity: str) -> R:
        rows = self.read(record, table, f"{NAMED[kind]} = ?", [_id(identity)], NAMED[kind]) if _is_id(identity) else []
        if not rows:
            raise self._nothing(identity, [kind])
        return rows[0]

    def read(self, record: type[R], source: str, where: str, given: list[Any], order: str) -> list[R]:
        """The rows of a view or table as records: the record's fields are the columns."""
        names = ", ".join(field.name for field in fields(record))  # type: ignore[arg-type]
        return [
            record(*row) for row in self.rows(f"select {names} from {source} where {where} order by {order}", given)
        ]

    def rows(self, query: str, given: list[Any] | dict[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of a query of our own: ids as 32 hex digits, times UTC, JSON parsed. A person's goes through `query`."""
        cursor = self._connection.execute(query, given)
        json_columns = [place for place, column in enumerate(cursor.description or ()) if str(column[1]) == "JSON"]
        rows = [[_plain(value) for value in row] for row in cursor.fetchall()]
        for row in rows:
            for place in json_columns:
                row[place] = json.loads(row[place])
        return [tuple(row) for row in rows]


def stored_attempts(home: Home, request_ids: Iterable[str], engine: str) -> dict[str, Attempt]:
    """As `Lineage.attempts_by_request`, from the snapshot as it lies there; nothing where there is none."""
    if not home.lineage_db.is_file():
        return {}
    with Lineage(home, snapshot_cursor(home, memory="250MB")) as lineage:
        return lineage.attempts_by_request(request_ids, engine)


def find_checkpoint(home: Home, text: str) -> Checkpoint:
    """The checkpoint that an id or its beginning names. Raises UserMistake with the nearest ids."""
    with Lineage.open(home, fresh=True) as lineage:
        return lineage.checkpoint(lineage.find(text, ["checkpoint"]).id)


def _current(home: Home, fresh: bool) -> bool:
    if not home.lineage_db.is_file():
        return False
    try:
        cursor = snapshot_cursor(home)
        row = cursor.execute("select any_value(views), (select max(seq) from event) from schema_version").fetchone()
        cursor.close()
    except (StarloopError, duckdb.Error):
        return False
    same = row is not None and row[0] == views_digest()
    return same and not (fresh and row is not None and Events(home).path((row[1] or 0) + 1).is_file())


def _id(text: str) -> str:
    return bare(text)


def _is_id(text: str) -> bool:
    digits = bare(text)
    return len(digits) == 32 and all(digit in "0123456789abcdef" for digit in digits)


def _plain(value: Any) -> Any:
    match value:
        case UUID():
            return value.hex
        case datetime():
            return value.replace(tzinfo=UTC)
        case _:
            return value


def _shown(named: Iterable[Named]) -> str:
    prefixes = {kind: prefix for prefix, kind in PREFIXES.items()}
    return ", ".join(show(prefixes[one.kind], one.id) for one in named)
