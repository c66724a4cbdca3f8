"""What can be wrong with a store, and the sentences that say it.

Covered: every shard file against its name, every event against the ledger, ids that stand twice, references to rows that
are not there, the accounting of steps, mixes and evaluations, checkpoint folders against the digests of their files,
cached results against shards and checkpoints, and that what was forgotten is gone. A reference to a forgotten row is right.
Not covered: MLflow's copies of checkpoints, and what no table names (see `starloop gc`).
"""

from collections.abc import Iterator
from pathlib import Path

import duckdb

from storage.checkpoints import checkpoint_fault
from storage.errors import DamagedShard, StorageFault
from storage.events import FORGOTTEN, Events
from storage.ingest import IDENTIFIED, KEYS
from storage.results import results
from storage.shards import Shards
from storage.tombstones import ROWS

REFERENCES = (
    ("problem", "source_attempt_id", "attempt"),
    ("attempt", "problem_id", "problem"),
    ("attempt", "prompt_id", "prompt"),
    ("attempt", "checkpoint_id", "checkpoint"),
    ("derivation", "child_id", "attempt"),
    ("derivation", "parent_id", "attempt or problem"),
    ("verdict", "attempt_id", "attempt"),
    ("example_evidence", "example_id", "example"),
    ("example_evidence", "problem_id", "problem"),
    ("example_evidence", "attempt_id", "attempt"),
    ("example_evidence", "verdict_id", "verdict"),
    ("mix_member", "mix_id", "mix"),
    ("mix_member", "example_id", "example"),
    ("training", "base_checkpoint_id", "checkpoint"),
    ("training", "mix_id", "mix"),
    ("checkpoint", "parent_id", "checkpoint"),
    ("checkpoint", "training_id", "training"),
    ("evaluation", "checkpoint_id", "checkpoint"),
    ("evaluation_item", "evaluation_id", "evaluation"),
    ("evaluation_item", "problem_id", "problem"),
    ("evaluation_item", "attempt_id", "attempt"),
    ("evaluation_item", "verdict_id", "verdict"),
    ("node", "problem_id", "problem"),
    ("node", "checkpoint_id", "checkpoint"),
    ("node", "value_checkpoint_id", "checkpoint"),
    ("node", "parent_id", "node"),
    ("node", "attempt_id", "attempt"),
    ("node", "solution_id", "attempt"),
    ("step", "run_id", "run"),
    ("step_shard", "step_id", "step"),
)
"""Column to the table whose id it holds, or the tables; an empty one refers to nothing."""

_BALANCES = {
    "select name || ' ' || cell, asked, ok + rejected + undecided + failed from step "
    "where asked <> ok + rejected + undecided + failed": "step {} was asked for {} rows and accounts for {}",
    "select m.mix_id, m.rows, count(p.mix_id) from mix m left join mix_member p using (mix_id) "
    "group by all having m.rows <> count(p.mix_id)": "mix {} says it has {} members and has {}",
    "select e.evaluation_id, e.n, count(i.evaluation_id) from evaluation e left join evaluation_item i "
    "using (evaluation_id) group by all having e.n <> count(i.evaluation_id)": "evaluation {} says it has {} items and has {}",
}


def faults(connection: duckdb.DuckDBPyConnection, shards: Shards, events: Events) -> list[str]:
    """A sentence for each thing that is wrong, in the order of checking; `connection` is the ledger, caught up."""
    checks = (_shards(connection, shards), _events(connection, events), _twice(connection), _references(connection),
              _members(connection), _balances(connection), _forgotten(connection, shards), _checkpoints(connection, shards),
              _results(shards))  # fmt: skip
    return [sentence for check in checks for sentence in check]


def _shards(connection: duckdb.DuckDBPyConnection, shards: Shards) -> Iterator[str]:
    rows = connection.execute("select digest, table_name, rows from shard").fetchall()
    known = {digest.hex: (table, count) for digest, table, count in rows}
    named = connection.execute("select distinct digest from step_shard").fetchall()
    for digest in sorted({row[0].hex for row in named} - known.keys()):
        yield f"shard {digest}, which a step names, was never taken in; run what makes it again"
    for digest, (table, count) in sorted(known.items()):
        try:
            found = shards.verified(digest, table).num_rows
        except DamagedShard as damage:
            yield str(damage)
            continue
        if found != count:
            yield f"shard {digest} of {table} has {found} rows and the ledger says {count}; rebuild the ledger"


def _events(connection: duckdb.DuckDBPyConnection, events: Events) -> Iterator[str]:
    known = {row[0] for row in connection.execute("select seq from event").fetchall()}
    found = set(events.numbers())
    for seq in sorted(known - found):
        yield f"event {seq} is in the ledger and its file {events.path(seq)} is gone; restore it from a copy of the home"
    for seq in sorted(found - known):
        yield f"event {seq} has a file and is not in the ledger; run `starloop rebuild`"
    for seq in sorted(found):
        try:
            events.read(seq)
        except StorageFault as fault:
            yield str(fault)


def _twice(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    keys = KEYS | {"run": ("run_id",), "step": ("step_id",), "shard": ("digest",), "event": ("seq",),
                   "member": ("digest", "row"), "step_shard": ("step_id", "direction", "role", "position")}  # fmt: skip
    for table, key in keys.items():
        named = ", ".join(key)
        query = f"select count(*), min(({named})::varchar) from (select {named} from {table} group by all having count(*) > 1)"
        count, first = connection.execute(query).fetchall()[0]
        if count:
            yield f"{table}: {count} rows stand more than once, the first {first}; run `starloop rebuild`"


def _references(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    for table, column, target in REFERENCES:
        absent = " ".join(
            f"and not exists (select 1 from {one} x where x.{one}_id = t.{column})" for one in target.split(" or ")
        )
        query = (
            f"select count(*), min({column}::varchar) from {table} t where {column} is not null {absent} "
            f"and not exists (select 1 from tombstone x where x.tombstone_id = t.{column})"
        )
        count, first = connection.execute(query).fetchall()[0]
        if count:
            yield (
                f"{table}.{column}: {count} rows refer to a {target} that is not there, the first to {first}; "
                "run what made it again"
            )


def _members(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Every row of a shard with ids is a row of its table, and is recorded once a place."""
    for table in sorted(IDENTIFIED):
        key = KEYS[table][0]
        query = (
            "select count(*) from member m join shard h using (digest) where h.table_name = ? "
            f"and not exists (select 1 from {table} t where t.{key} = m.id)"
        )
        lost = connection.execute(query, [table]).fetchall()[0][0]
        if lost:
            yield f"{table}: {lost} rows of its shards are not in the ledger; run `starloop rebuild`"
    tables = ", ".join(f"'{table}'" for table in sorted(IDENTIFIED))
    query = (
        f"select h.digest, h.rows, count(m.digest) from shard h left join member m using (digest) "
        f"where h.table_name in ({tables}) group by all having h.rows <> count(m.digest)"
    )
    for digest, rows, count in connection.execute(query).fetchall():
        yield f"shard {digest.hex} has {rows} rows and the ledger took in {count}; run `starloop rebuild`"


def _balances(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    for query, sentence in _BALANCES.items():
        for what, said, found in connection.execute(query).fetchall():
            yield sentence.format(getattr(what, "hex", what), said, found)


def _forgotten(connection: duckdb.DuckDBPyConnection, shards: Shards) -> Iterator[str]:
    erased = connection.execute("select table_name, digest from erased where kind = ? order by 1, 2", [FORGOTTEN])
    for table, digest in erased.fetchall():
        if (path := shards.path(table, digest.hex)).is_file():
            yield f"{path} was forgotten and is there again; remove it"
    for table in ROWS:
        query = f"select count(*) from {table} t join tombstone x on x.tombstone_id = t.{table}_id"
        if count := connection.execute(query).fetchall()[0][0]:
            yield f"{table}: {count} rows were forgotten and are there; run `starloop rebuild`"


def _checkpoints(connection: duckdb.DuckDBPyConnection, shards: Shards) -> Iterator[str]:
    let_go = "select distinct unnest((payload->'weights')::varchar[])::uuid from event where kind = 'collected' and (payload->'weights') is not null"
    gone = {row[0] for row in connection.execute(let_go).fetchall()}
    rows = connection.execute("select checkpoint_id, files from checkpoint order by 1").fetchall()
    for checkpoint_id, files in rows:
        if checkpoint_id in gone and not (shards.home.checkpoints / checkpoint_id.hex).is_dir():
            continue  # retention let its weights go
        if fault := checkpoint_fault(shards.home, checkpoint_id.hex, files):
            yield fault


def _results(shards: Shards) -> Iterator[str]:
    """A cached result that names what is not there is no hit: the next run drops it and computes it again."""
    for result in results(shards.home):
        if isinstance(result, Path):
            yield f"cached result {result} cannot be read; remove it, and the next run computes it again"
            continue
        named = f"cached result {result.path.name} names"
        for manifest in result.manifests:
            lost = [digest for digest in manifest.shards if not shards.path(manifest.table, digest).is_file()]
            if lost:
                yield f"{named} shard {lost[0]} of {manifest.table}, which is missing; run again what made it"
                continue
            try:
                rows = sum(shards.rows(manifest.table, digest) for digest in manifest.shards)
            except DamagedShard as damage:
                yield f"{named} a damaged shard: {damage}"
                continue
            if rows != manifest.rows:
                yield (
                    f"{named} {manifest.rows} rows of {manifest.table} in shards that hold {rows}; remove {result.path}, "
                    "and the next run computes it again"
                )
        if result.checkpoint_id and not (shards.home.checkpoints / result.checkpoint_id).is_dir():
            yield f"{named} checkpoint {result.checkpoint_id}, which is missing; run again what made it"
