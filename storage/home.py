"""Where everything is kept: one folder, and how a file gets into it whole or not at all.

    .starloop/
      ledger.duckdb  lineage.duckdb     the writer's database, and the snapshot that people read
      shards/<table>/<digest>.parquet   rows, named by their content
      events/000000000042.json          decisions, in order
      checkpoints/ results/             models, and the records of finished tasks
      journals/ trainings/ tmp/         work under way
      outbox/ mlflow.db mlartifacts/    what MLflow is to be told, and its store
      logs/ reports/

`shards` and `events` are the memory; both databases can be made again from them.
"""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from storage import faults
from storage.errors import StorageFault, StorageFull, UserMistake
from storage.faults import reached

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one starloop; every path in it has its name here."""

    root: Path

    @classmethod
    def at(cls, path: Path | None = None) -> Self:
        """The home at `path`, else at STARLOOP_HOME, else ./.starloop; nothing is made, and it may not be there."""
        return cls(Path(path or os.environ.get("STARLOOP_HOME") or ".starloop").expanduser().absolute())

    @classmethod
    def existing(cls, path: Path | None = None) -> Self:
        """As `at`, for those who only read: raises UserMistake where no home is. One that cannot be written will do."""
        home = cls.at(path)
        if not home.events.is_dir():
            raise UserMistake(
                f"there is no home at {home.root}: nothing has run there; name the right one with --home or STARLOOP_HOME, "
                "or start a run, which makes it"
            )
        return home

    @classmethod
    def open(cls, path: Path | None = None) -> Self:
        """The home at `path`, else at STARLOOP_HOME, else ./.starloop; made if it is not there.

        Raises UserMistake if it cannot be made or written.
        """
        faults.check()
        home = cls.at(path)
        root = home.root
        try:
            for folder in (root, home.shards, home.events, home.checkpoints, home.results, home.journals, home.logs):
                folder.mkdir(parents=True, exist_ok=True)
            probe = root / f".probe-{uuid.uuid4().hex}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            if error.errno in _FULL:
                raise storage_fault(error, root) from error
            reason = error.strerror or str(error)
            raise UserMistake(
                f"the home {root} cannot be written ({reason}); give another folder with STARLOOP_HOME"
            ) from error
        return home

    @property
    def writable(self) -> bool:
        return os.access(self.root, os.W_OK)

    @property
    def ledger_db(self) -> Path:
        return self.root / "ledger.duckdb"

    @property
    def ledger_lock(self) -> Path:
        return self.root / "ledger.lock"

    @property
    def lineage_db(self) -> Path:
        return self.root / "lineage.duckdb"

    @property
    def shards(self) -> Path:
        return self.root / "shards"

    @property
    def events(self) -> Path:
        return self.root / "events"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def journals(self) -> Path:
        return self.root / "journals"

    @property
    def plans(self) -> Path:
        return self.root / "plans"

    @property
    def trainings(self) -> Path:
        return self.root / "trainings"

    @property
    def tmp(self) -> Path:
        """Where DuckDB puts what does not fit into memory."""
        return self.root / "tmp"

    @property
    def outbox(self) -> Path:
        return self.root / "outbox"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def mlflow_db(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def mlartifacts(self) -> Path:
        return self.root / "mlartifacts"


def atomic_write(path: Path, data: bytes | memoryview, point: str | None = None) -> None:
    """Puts `data` at `path` so that a reader, or a power cut, sees all of it or what was there before.

    `point` names the moment (see `storage.faults`) at which the file is whole and does not have its name yet. Raises
    StorageFull when the disk is, and StorageFault for anything else; the temporary file is gone either way.
    """
    temporary = temporary_beside(path)
    with writing(path), removed_on_failure(temporary):
        write_synced(temporary, data)
        if point is not None:
            reached(point)
        os.replace(temporary, path)
        sync_folder(path.parent)


def temporary_beside(path: Path) -> Path:
    """A name in the same folder that no reader looks at."""
    return path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.tmp"


def write_synced(path: Path, data: bytes | memoryview) -> None:
    """A new file whose bytes are on the disk when this returns. The folder entry is not; see `sync_folder`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "xb", buffering=0) as handle:
        rest = memoryview(data)
        while rest:
            rest = rest[handle.write(rest) :]
        os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder as durable as the files under them."""
    sync_file(folder)


def sync_file(path: Path) -> None:
    """Brings what was written to a file, by whomever, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def removed_on_failure(temporary: Path) -> Iterator[None]:
    """Removes a temporary file if the block fails in any way, an interrupt included."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the system's errors while writing `path` into sentences."""
    try:
        yield
    except OSError as error:
        raise storage_fault(error, path) from error


def storage_fault(error: OSError, path: Path) -> StorageFault:
    """The sentence for a system error at `path`: StorageFull where space or quota ran out."""
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return StorageFull(
            f"no space to write {path} ({reason}); nothing half-written is left, "
            "so free some space and run the same command again"
        )
    return StorageFault(f"cannot write {path} ({reason}); check the folder and run the same command again")
