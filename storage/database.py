"""The writer's private database: its lock, and how it is opened, migrated and closed again.

The database is attached only while the lock is held, and detached before it is released, so that two flows can share
a home. The DuckDB instance it is attached to stays: attaching takes about a millisecond, an instance fifty.
"""

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import duckdb

from storage.errors import StorageBusy, StorageFault, StorageFull
from storage.home import Home, writing

STORAGE_VERSION = "v1.2.0"
"""Read by every DuckDB from 1.2 on; the first whose files compress long text with zstd."""

LOCK_WAIT_S = 60.0

WRITER_MEMORY = "400MB"
"""What DuckDB may hold in the process of a flow; a larger step's rows go through it in pieces."""

_ROW_GROUP = 122_880
_PIECES = 100

LOG_BYTES = 256 * 2**10
"""Attaching replays the log at some 40 ms a MiB, and a checkpoint costs about 30 ms: beyond this it is the cheaper."""


class Database:
    """`ledger.duckdb`, opened by one process at a time."""

    def __init__(self, home: Home, lock_wait_s: float = LOCK_WAIT_S) -> None:
        self.home = home
        self.lock_wait_s = lock_wait_s
        self._instance: duckdb.DuckDBPyConnection | None = None
        self._threads = threading.RLock()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the ledger's lock, against other processes and threads; StorageFault after `lock_wait_s`."""
        with held(self.home.ledger_lock, self.lock_wait_s):
            yield

    @contextmanager
    def attached(self, path: Path | None = None, *, checkpoint: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection whose default database is the ledger (or `path`), migrated; the caller holds the lock.

        `checkpoint`: everything is in the file itself, and nothing in a log beside it, once it is closed. Then also what
        many small commits left in small pieces is gathered, if it is `scattered`; at every commit that would write each
        row several times.
        """
        file = path or self.home.ledger_db
        connection = self._connection()
        try:
            self._attach(connection, file)
            try:
                migrate(connection, file)
                yield connection
                if checkpoint or _size(log_of(file)) > LOG_BYTES:
                    with suppress(duckdb.CatalogException):  # DuckDB 1.5 has no such setting, and gathers every time
                        gather = checkpoint and scattered(connection)
                        connection.execute(f"set max_vacuum_tasks = {100 if gather else 0}")
                    connection.execute("checkpoint")
            finally:
                connection.execute("use memory")
                connection.execute("detach ledger")
        except DAMAGED as error:
            self.close()
            raise database_fault(error, file) from error

    def close(self) -> None:
        """Lets the DuckDB instance go."""
        if self._instance is not None:
            self._instance.close()
            self._instance = None

    def _connection(self) -> duckdb.DuckDBPyConnection:
        with self._threads:
            if self._instance is None:
                instance = new_instance()
                instance.execute(f"set memory_limit = '{WRITER_MEMORY}'")
                instance.execute(f"set temp_directory = '{_quoted(self.home.tmp)}'")
                with suppress(duckdb.CatalogException):  # before DuckDB 2.0 every detach checkpoints: slower, as right
                    instance.execute("set checkpoint_on_detach = 'DISABLED'")
                self._instance = instance
            return self._instance

    def _attach(self, connection: duckdb.DuckDBPyConnection, file: Path) -> None:
        if not file.exists():  # a log without its database belongs to one that somebody removed
            log_of(file).unlink(missing_ok=True)
        connection.execute(f"attach '{_quoted(file)}' as ledger (storage_version '{STORAGE_VERSION}')")
        connection.execute("use ledger")


def scattered(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the table that every step adds to lies in many more row groups than its rows need."""
    query = "select count(distinct row_group_id), (select count(*) from member) from pragma_storage_info('member')"
    pieces, rows = connection.execute(query).fetchall()[0]
    return pieces > _PIECES + 4 * rows / _ROW_GROUP


def new_instance() -> duckdb.DuckDBPyConnection:
    """A DuckDB of our own that never looks for extensions, on disk or network."""
    instance = duckdb.connect(":memory:", config={"autoload_known_extensions": False})
    instance.execute("set autoinstall_known_extensions = false")
    return instance


def migrate(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Brings tables and views to this version, in one transaction; a ledger from a newer one is refused."""
    steps = migrations()
    newest = max(steps)
    wanted = views_digest()
    try:
        version, current = check_version(connection, "schema_version", file)
    except duckdb.CatalogException:
        version, current = 0, ""
        connection.execute(
            "create table schema_version (version integer not null, name varchar not null, views varchar not null)"
        )
    if version == newest and current == wanted:
        return
    connection.execute("begin")
    try:
        for number in range(version + 1, newest + 1):
            connection.execute(steps[number].text)
            connection.execute("insert into schema_version values (?, ?, '')", [number, steps[number].name])
        for statement in view_statements():
            connection.execute(statement)
        connection.execute("update schema_version set views = ?", [wanted])
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise


def check_version(connection: duckdb.DuckDBPyConnection, table: str, file: Path) -> tuple[int, str]:
    """The version of a ledger's tables and the digest of its views. Raises StorageFault if it is from a newer starloop."""
    row = connection.execute(f"select max(version), any_value(views) from {table}").fetchone()
    version, views = (row[0] or 0, row[1] or "") if row else (0, "")
    newest = max(migrations())
    if version > newest:
        raise StorageFault(
            f"{file} is a ledger of version {version}, and this starloop knows versions up to {newest}; "
            "upgrade starloop, or use another home"
        )
    return version, views


@dataclass(frozen=True, slots=True)
class Script:
    """One file of SQL: its name without the ending, which begins with its number, and its text."""

    name: str
    text: str


@cache
def migrations() -> dict[int, Script]:
    """Every migration by its number."""
    return {int(script.name.split("_")[0]): script for script in _scripts("migrations")}


@cache
def view_statements() -> list[str]:
    """The views' SQL, in the order in which they build on each other."""
    return [script.text for script in _scripts("views")]


@cache
def views_digest() -> str:
    """What the views of this version are."""
    return hashlib.blake2b("\n".join(view_statements()).encode(), digest_size=16).hexdigest()


def log_of(file: Path) -> Path:
    """DuckDB's write-ahead log beside a database file."""
    return file.with_name(f"{file.name}.wal")


DAMAGED = (duckdb.IOException, duckdb.SerializationException, duckdb.FatalException)
"""What DuckDB raises for a file that is not what it was."""


def database_fault(error: duckdb.Error, file: Path) -> StorageFault:
    """The sentence for a database that cannot be read or written."""
    reason = str(error).splitlines()[0]
    if "No space left" in reason or "Disk quota" in reason or "File too large" in reason:
        return StorageFull(f"no space to write {file}; free some and run the same command again, nothing is lost")
    return StorageFault(
        f"{file} cannot be used ({reason}); remove it and run `starloop rebuild`, which makes it again from "
        "shards and events"
    )


@contextmanager
def held(lock: Path, wait_s: float, what: str = "the ledger") -> Iterator[None]:
    """Holds a lock file, against processes and threads; the system lets it go when the process ends, however it ends.

    Waits at most `wait_s`, then raises StorageBusy, whose sentence names `what` is held and by whom.
    """
    with writing(lock):
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _wait(descriptor, lock, wait_s, what)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, lock: Path, wait_s: float, what: str) -> None:
    deadline = time.monotonic() + wait_s
    pause = 0.002
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
                raise StorageBusy(
                    f"{what} has been busy for {wait_s:.0f} s, held through {lock} by process {holder}; "
                    "wait for that process or end it, then run the same command again"
                ) from None
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
        else:
            return


def _scripts(folder: str) -> list[Script]:
    files = [entry for entry in (resources.files("storage") / "sql" / folder).iterdir() if entry.name.endswith(".sql")]
    return [
        Script(file.name.removesuffix(".sql"), file.read_text("utf-8")) for file in sorted(files, key=lambda f: f.name)
    ]


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
