"""`lineage.duckdb`: the ledger as people and tools read it, replaced whole and never changed in place."""

import os

from storage.home import Home, removed_on_failure, sync_folder, temporary_beside, writing

_PIECE = 64 * 2**20


def publish(home: Home) -> None:
    """Copies the ledger's file, which the caller, who holds the lock, has checkpointed and closed, and renames the copy into place.

    A reader of the old snapshot keeps the old file; a new one opens the new file.
    """
    for left in home.root.glob(f".{home.lineage_db.name}.*.tmp"):  # by a process that was killed here
        left.unlink(missing_ok=True)
    temporary = temporary_beside(home.lineage_db)
    with writing(home.lineage_db), removed_on_failure(temporary):
        with open(home.ledger_db, "rb") as source, open(temporary, "xb") as target:
            rest = os.fstat(source.fileno()).st_size
            while rest > 0:
                copied = _copy(source.fileno(), target.fileno(), min(rest, _PIECE))
                if copied == 0:
                    break
                rest -= copied
            os.fsync(target.fileno())
        os.replace(temporary, home.lineage_db)
        sync_folder(home.root)


def _copy(source: int, target: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count)  # shares blocks where the filesystem can
    except (AttributeError, OSError):
        return os.write(target, os.read(source, count))
