"""SQL that a person wrote, on the snapshot: it can read the ledger and nothing else, and it can be stopped.

    >>> ask(connection, "select iteration, pass_rate from v_yield order by 1")
    Answer(columns=('iteration', 'pass_rate'), rows=[(1, 0.47), (2, 0.71)], more=False)

Two walls: only a single SELECT (or EXPLAIN) is let through, and the connection itself cannot write, reach a file, load
an extension or change its settings.
"""

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb

from storage.database import DAMAGED, check_version, database_fault, new_instance
from storage.errors import UserMistake
from storage.home import Home

ROW_LIMIT = 1000
TIME_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The first rows of a result; `more`: there are others."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    more: bool


def ask(
    connection: duckdb.DuckDBPyConnection, sql: str, *, limit: int | None = ROW_LIMIT, timeout_s: float = TIME_LIMIT_S
) -> Answer:
    """The answer to one question, at most `limit` rows of it (None: all).

    Raises UserMistake with DuckDB's own message if the SQL is wrong, and if it takes longer than `timeout_s`. What is wrong with the
    file is raised as it is.
    """
    _check(connection, sql)

    def run() -> Answer:
        result = connection.execute(sql)
        rows = result.fetchall() if limit is None else result.fetchmany(limit + 1)
        columns = tuple(column[0] for column in result.description or ())
        return Answer(columns, rows[:limit], limit is not None and len(rows) > limit)

    with ThreadPoolExecutor(1, "query") as thread:  # DuckDB notices neither a deadline nor Ctrl-C by itself
        asked = thread.submit(run)
        try:
            return asked.result(timeout=timeout_s)
        except TimeoutError as error:
            raise UserMistake(
                f"the query took longer than {timeout_s:g} s and was stopped; narrow it, or allow it more time"
            ) from error
        except DAMAGED:
            raise
        except duckdb.Error as error:
            raise UserMistake(str(error)) from error
        finally:
            while not asked.done():  # again and again: one that comes before the query has begun is lost
                connection.interrupt()
                wait([asked], timeout=0.05)


def snapshot_cursor(home: Home, memory: str = "2GB") -> duckdb.DuckDBPyConnection:
    """A connection to the snapshot as it is now, that can do nothing but read it. Raises StorageFault if it is damaged.

    `memory` is what its questions may take, and what it keeps of the file; a flow that looks up attempts needs little. One
    DuckDB instance a snapshot is kept and shared, since making one takes fifty times as long as a query.
    """
    try:
        stat = home.lineage_db.stat()
        cursor = _reader(home.lineage_db, stat.st_ino, stat.st_mtime_ns, memory).cursor()
        cursor.execute("use lineage")
    except (duckdb.IOException, duckdb.SerializationException, duckdb.CatalogException) as error:
        raise database_fault(error, home.lineage_db) from error
    return cursor


@lru_cache(maxsize=2)
def _reader(path: Path, inode: int, changed: int, memory: str) -> duckdb.DuckDBPyConnection:
    del inode, changed  # what tells one snapshot at this path from the next
    instance = new_instance()
    # Attached, not connected to: DuckDB gives everyone in a process who connects to a path the file that the first of
    # them opened, even when another has been renamed into its place.
    quoted = str(path).replace("'", "''")
    instance.execute(f"attach '{quoted}' as lineage (read_only)")
    check_version(instance, "lineage.schema_version", path)
    instance.execute(f"set memory_limit = '{memory}'")
    instance.execute("set temp_directory = ''")
    instance.execute("set python_enable_replacements = false")  # `from rows` is a table, never a variable of ours
    instance.execute("set enable_external_access = false")
    instance.execute("set lock_configuration = true")
    return instance


def _check(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise UserMistake(str(error)) from error
    if len(statements) != 1:
        raise UserMistake(f"one question at a time: this is {len(statements)} statements; give a single SELECT")
    try:
        kind = statements[0].type
    except ValueError:  # one that the binding has no name for, such as UPDATE EXTENSIONS
        kind = None
    if kind not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        what = f"{'an' if kind.name[0] in 'AEIU' else 'a'} {kind.name}" if kind else "something else"
        raise UserMistake(
            f"the ledger is read-only here, and this is {what}; ask with SELECT, or export a result with --csv or --json"
        )
