"""Rows of shards into the content tables: read by DuckDB itself, on all its threads, and checked before.

The first of equals stays. A shard that is missing or damaged is left out. One that this very process wrote is not read
again to be checked; every other one's rows are digested, beside each other.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import duckdb

from storage.columns import schema
from storage.errors import DamagedShard
from storage.records import RECORDS
from storage.shards import Shards

KEYS: dict[str, tuple[str, ...]] = {
    "derivation": ("child_id", "parent_id", "role"),
    "mix_member": ("mix_id", "position"),
    "evaluation_item": ("evaluation_id", "attempt_id"),
    "example_evidence": ("evidence_id",),
} | {
    table: (f"{table}_id",)
    for table in RECORDS
    if table not in ("derivation", "mix_member", "evaluation_item", "example_evidence")
}
"""What makes a row of each content table the same row."""

IDENTIFIED = frozenset(table for table, key in KEYS.items() if len(key) == 1)
"""The tables whose rows have an id of their own, and so stand in `member`."""

_CHECKED_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Named:
    """A shard as an event names it."""

    table: str
    digest: str


def take_in(
    connection: duckdb.DuckDBPyConnection, shards: Shards, named: Sequence[Named], *, trust: bool = True
) -> None:
    """Takes in those of the shards that the ledger does not know, in their order, inside the caller's transaction.

    Without `trust` also what this process wrote is read and digested first. Raises duckdb.Error where a file changed since.
    """
    fresh = _sound(shards, _unknown(connection, named), trust)
    for table in dict.fromkeys(one.table for one in fresh):
        digests = [one.digest for one in fresh if one.table == table]
        files = [str(shards.path(table, digest)) for digest in digests]
        _insert_rows(connection, table, files)
        if table in IDENTIFIED:
            _insert_members(connection, KEYS[table][0], digests, files)
        connection.execute(
            "insert into shard (digest, table_name, rows) select unnest(?::uuid[]), ?, unnest(?::bigint[])",
            [digests, table, [shards.rows(table, digest) for digest in digests]],
        )


def _unknown(connection: duckdb.DuckDBPyConnection, named: Sequence[Named]) -> list[Named]:
    distinct = list(dict.fromkeys(named))
    if not distinct:
        return []
    query = "select digest from shard where digest in (select unnest(?::uuid[]))"
    rows = connection.execute(query, [[one.digest for one in distinct]]).fetchall()
    known = {row[0].hex for row in rows}
    return [one for one in distinct if one.digest not in known]


def _sound(shards: Shards, named: Sequence[Named], trust: bool) -> list[Named]:
    """Those that are there and hold what their names say."""

    def holds(one: Named) -> bool:
        try:
            if not (trust and shards.own(one.digest, one.table)):
                shards.verify(one.digest, one.table)
        except DamagedShard:
            return False
        return True

    with ThreadPoolExecutor(_CHECKED_AT_ONCE, "check") as threads:
        return [one for one, sound in zip(named, threads.map(holds, named), strict=True) if sound]


def _insert_rows(connection: duckdb.DuckDBPyConnection, table: str, files: list[str]) -> None:
    """A first look at the narrow keys alone says which rows are new, and mostly that all are."""
    key = ", ".join(KEYS[table])
    same = " and ".join(f"known.{column} = fresh.{column}" for column in KEYS[table])
    new = (
        f"select min(file_index * {2**32} + file_row_number) as place from read_parquet(?) fresh "
        f"where not exists (select 1 from {table} known where {same}) group by {key}"
    )
    columns = ", ".join(schema(table).names)
    rows = f"insert into {table} ({columns}) select {columns} from read_parquet(?)"
    connection.execute(f"create or replace temp table fresh_place as {new}", [files])
    count, total = connection.execute(
        "select (select count(*) from fresh_place), count(*) from read_parquet(?)", [files]
    ).fetchall()[0]
    if count == total:
        connection.execute(rows, [files])
    elif count:
        chosen = f"{rows} where file_index * {2**32} + file_row_number in (select place from fresh_place)"
        connection.execute(chosen, [files])


def _insert_members(connection: duckdb.DuckDBPyConnection, key: str, digests: list[str], files: list[str]) -> None:
    connection.execute(
        "insert into member (digest, row, id) "
        f"select (?::uuid[])[(file_index + 1)::bigint], file_row_number, {key} from read_parquet(?)",
        [digests, files],
    )
