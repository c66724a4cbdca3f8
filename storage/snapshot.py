"""`lineage.duckdb`: the ledger as people and tools read it, replaced whole and never changed in place.

It is the ledger's own file with two views turned into tables: what takes seconds to find out is found out once a snapshot.
"""

import os
from pathlib import Path

import duckdb

from storage.database import Database, log_of
from storage.faults import reached
from storage.home import Home, removed_on_failure, sync_folder, temporary_beside, writing

STORED = ("v_mix_evidence", "v_mix_parent")
"""Views whose rows a snapshot holds, in the order in which they build on each other."""

_PIECE = 64 * 2**20


def publish(home: Home, database: Database) -> None:
    """Copies the ledger's file, which the caller, who holds the lock, has checkpointed and closed, and renames the copy into place.

    A reader of the old snapshot keeps the old file; a new one opens the new file.
    """
    for left in home.root.glob(f".{home.lineage_db.name}.*.tmp*"):  # by a process that was killed here
        left.unlink(missing_ok=True)
    temporary = temporary_beside(home.lineage_db)
    with writing(home.lineage_db), removed_on_failure(temporary), removed_on_failure(log_of(temporary)):
        _copy(home.ledger_db, temporary)
        with database.attached(temporary, checkpoint=True) as connection:
            store_views(connection)
        log_of(temporary).unlink(missing_ok=True)
        reached("publish-before-rename")
        os.replace(temporary, home.lineage_db)
        sync_folder(home.root)
    reached("publish-after-rename")


def store_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Puts the rows of the slow views in their place, under the same name."""
    connection.execute("begin")
    for view in STORED:
        connection.execute(f"create table stored as from {view} order by all")
        connection.execute(f"drop view {view}")
        connection.execute(f"alter table stored rename to {view}")
    connection.execute("commit")


def _copy(origin: Path, copy: Path) -> None:
    with open(origin, "rb") as source, open(copy, "xb") as target:
        rest = os.fstat(source.fileno()).st_size
        while rest > 0:
            copied = _copy_piece(source.fileno(), target.fileno(), min(rest, _PIECE))
            if copied == 0:
                break
            rest -= copied
        os.fsync(target.fileno())


def _copy_piece(source: int, target: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count)  # shares blocks where the filesystem can
    except (AttributeError, OSError):
        return os.write(target, os.read(source, count))
