"""The same rows in SQLite, and the same questions: what the choice of DuckDB is compared with.

SQLite is given its best case: bulk inserts in one transaction without a journal, ids as 16 bytes, every id that a question
looks up indexed after loading, statistics gathered, a page cache of 256 MB, and the two views that a snapshot stores as
tables. Rows come as they stand in the shards, duplicates aside.
"""

import sqlite3
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb

from storage.home import Home
from storage.ingest import IDENTIFIED, KEYS
from storage.records import RECORDS
from storage.shards import Shards

INDEXES = {
    "member": ("digest, row", "id"), "step": ("run_id",), "step_shard": ("step_id", "digest"), "shard": ("digest",),
    "attempt": ("attempt_id", "problem_id"), "verdict": ("verdict_id", "attempt_id"), "problem": ("problem_id",),
    "prompt": ("prompt_id",), "derivation": ("child_id",), "example": ("example_id",),
    "example_evidence": ("evidence_id", "example_id", "attempt_id"), "mix_member": ("mix_id, position", "example_id, mix_id"),
    "training": ("training_id", "mix_id"), "checkpoint": ("checkpoint_id", "training_id"), "evaluation": ("checkpoint_id",),
    "evaluation_item": ("evaluation_id",),
}  # fmt: skip

MIX_EVIDENCE = """
create table mix_evidence as
with made as (
    select distinct o.step_id, m.id as mix_id
    from shard h join step_shard o on o.digest = h.digest and o.direction = 'output' join member m on m.digest = h.digest
    where h.table_name = 'mix'
),
seen as (
    select distinct made.mix_id, m.id as evidence_id
    from made join step_shard o on o.step_id = made.step_id
    join shard h on h.digest = o.digest and h.table_name = 'example_evidence' join member m on m.digest = h.digest
)
select s.mix_id, s.evidence_id, e.example_id from seen s join example_evidence e using (evidence_id)
where exists (select 1 from mix_member mm where mm.example_id = e.example_id and mm.mix_id = s.mix_id)
"""

MIX_PARENT = """
create table mix_parent as
select s.mix_id, e.origin as relation, a.checkpoint_id as parent_id, count(distinct e.example_id) as examples
from mix_evidence s join example_evidence e using (evidence_id) join attempt a using (attempt_id) group by 1, 2, 3
union all
select s.mix_id, d.role, a.checkpoint_id, count(distinct e.example_id)
from mix_evidence s join example_evidence e using (evidence_id) join derivation d on d.child_id = e.attempt_id
join attempt a on a.attempt_id = d.parent_id group by 1, 2, 3
union all
select s.mix_id, 'posed', a.checkpoint_id, count(distinct e.example_id)
from mix_evidence s join example_evidence e using (evidence_id) join problem b using (problem_id)
join attempt a on a.attempt_id = b.source_attempt_id group by 1, 2, 3
"""

_PARENT = """
parent as (
    select c.checkpoint_id, t.base_checkpoint_id as parent_id from checkpoint c join training t using (training_id)
    where t.base_checkpoint_id is not null
    union
    select c.checkpoint_id, p.parent_id from checkpoint c join training t using (training_id) join mix_parent p using (mix_id)
)
"""

ANCESTRY = f"""
with recursive {_PARENT},
walk (ancestor_id, depth) as (
    select ?, 0 union select p.parent_id, w.depth + 1 from walk w join parent p on p.checkpoint_id = w.ancestor_id where w.depth < 100
)
select ancestor_id, min(depth) from walk group by 1
"""

DOWNSTREAM = f"""
with recursive {_PARENT},
walk (checkpoint_id, depth) as (
    select c.checkpoint_id, 0 from mix_member mm join training t using (mix_id) join checkpoint c using (training_id) where mm.example_id = ?
    union select p.checkpoint_id, w.depth + 1 from walk w join parent p on p.parent_id = w.checkpoint_id where w.depth < 100
)
select w.checkpoint_id, min(w.depth), count(distinct e.evaluation_id) from walk w left join evaluation e using (checkpoint_id) group by 1
"""

SOURCES = """
select s.mix_id, e.origin, e.problem_id, b.question, a.attempt_id, a.text, t.text, v.passed, a.checkpoint_id
from example_evidence e join mix_evidence s using (evidence_id) left join problem b using (problem_id)
left join attempt a using (attempt_id) left join prompt t using (prompt_id) left join verdict v using (verdict_id)
where e.example_id = ?
"""

ATTEMPT = "select * from attempt where attempt_id = ?"

TRAINING_SET = """
select mm.position, mm.example_id, x.prompt, x.completion from checkpoint c join training t using (training_id)
join mix_member mm using (mix_id) join example x using (example_id) where c.checkpoint_id = ? order by mm.position
"""

YIELDS = """
with output as (
    select s.iteration, h.table_name, m.id from step s join step_shard o using (step_id) join shard h using (digest)
    join member m using (digest) where s.run_id = ? and o.direction = 'output'
),
judged as (select o.iteration, v.attempt_id, v.passed from output o join verdict v on v.verdict_id = o.id where o.table_name = 'verdict'),
tried as (
    select o.iteration, a.attempt_id, a.problem_id, a.tokens, t.hinted from output o join attempt a on a.attempt_id = o.id
    join problem b using (problem_id) join prompt t using (prompt_id) where o.table_name = 'attempt' and b.split not in ('dev', 'test')
)
select a.iteration, count(*) filter (where not a.hinted), count(*) filter (where not a.hinted and j.passed), sum(a.tokens)
from tried a left join judged j on j.iteration = a.iteration and j.attempt_id = a.attempt_id group by 1 order by 1
"""


class SqliteLedger:
    """The rows of a home in one SQLite file. `load_s`, `index_s` and `store_s`: seconds for rows, indexes, the stored views."""

    def __init__(self, file: Path, home: Home, known: duckdb.DuckDBPyConnection) -> None:
        """`known` is the snapshot of the same home."""
        self.file = file
        self.connection = sqlite3.connect(file, isolation_level=None)
        for pragma in ("journal_mode = off", "synchronous = off", "cache_size = -262144", "temp_store = file"):
            self.connection.execute(f"pragma {pragma}")
        began = time.perf_counter()
        self.connection.execute("begin")
        self._small(known)
        self._large(Shards(home), known)
        self.connection.execute("commit")
        loaded = time.perf_counter()
        for table, keys in INDEXES.items():
            for number, key in enumerate(keys):
                self.connection.execute(f"create index {table}_{number} on {table} ({key})")
        indexed = time.perf_counter()
        for statement in (
            MIX_EVIDENCE,
            "create index mix_evidence_0 on mix_evidence (evidence_id)",
            MIX_PARENT,
            "analyze",
        ):
            self.connection.execute(statement)
        self.load_s, self.index_s, self.store_s = loaded - began, indexed - loaded, time.perf_counter() - indexed

    def ask(self, question: str, identity: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(question, [bytes.fromhex(identity)]).fetchall()

    def _small(self, known: duckdb.DuckDBPyConnection) -> None:
        for table in ("run", "step", "shard", "step_shard"):
            result = known.execute(f"from {table}")
            names = [column[0] for column in result.description or ()]
            self._insert(table, names, ([_plain(value) for value in row] for row in result.fetchall()))

    def _large(self, shards: Shards, known: duckdb.DuckDBPyConnection) -> None:
        known_shards = known.execute("select digest, table_name from shard").fetchall()
        for table in RECORDS:
            for digest, _ in (row for row in known_shards if row[1] == table):
                columns = shards.table(digest.hex, table)
                plain = [_values(column) for column in columns.columns]
                self._insert(table, columns.column_names, zip(*plain, strict=True))
                if table in IDENTIFIED:
                    ids = plain[columns.column_names.index(KEYS[table][0])]
                    self._insert(
                        "member", ["digest", "row", "id"], ((digest.bytes, row, one) for row, one in enumerate(ids))
                    )
        self.connection.execute(
            "delete from example where rowid not in (select min(rowid) from example group by example_id)"
        )

    def _insert(self, table: str, names: list[str], rows: Iterable[Iterable[Any]]) -> None:
        self.connection.execute(f"create table if not exists {table} ({', '.join(names)})")
        self.connection.executemany(f"insert into {table} values ({', '.join('?' * len(names))})", map(tuple, rows))


def _values(column: Any) -> list[Any]:
    chunks = [getattr(chunk, "storage", chunk) for chunk in column.chunks]
    return [value for chunk in chunks for value in chunk.to_pylist()]


def _plain(value: Any) -> Any:
    match value:
        case UUID():
            return value.bytes
        case datetime():
            return value.isoformat()
        case _:
            return value
