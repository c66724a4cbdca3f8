"""The snapshot that the explorer holds: opened once, read by every request through a cursor of its own, and kept until
somebody asks for the newer one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import duckdb

from storage.database import DAMAGED, database_fault
from storage.errors import UserMistake
from storage.explorer.catalogue import Catalogue, read_catalogue
from storage.home import Home
from storage.lineage import Lineage
from storage.query import snapshot_cursor

TIME_LIMIT_S = 15.0
"""What a page may take; a person's SQL has its own limit."""

CATALOGUE_LIMIT_S = 120.0


class Held:
    """One snapshot, whatever is published meanwhile."""

    def __init__(self, home: Home) -> None:
        """Makes a snapshot first where there is none, or events have come since. Raises StorageFault if it is damaged."""
        Lineage.open(home, fresh=True).close()
        self.home = home
        self._file = self._signature()
        self.taken_at = datetime.fromtimestamp(home.lineage_db.stat().st_mtime, UTC)
        self._connection = snapshot_cursor(home)
        self._lock = threading.Lock()
        self._catalogue: Catalogue | None = None

    @property
    def version(self) -> str:
        """What tells this snapshot from the next."""
        return "-".join(map(str, self._file))

    def newer(self) -> bool:
        """Whether another snapshot has been published since."""
        try:
            return self._signature() != self._file
        except OSError:
            return False

    @property
    def catalogue(self) -> Catalogue:
        """Read by the first who asks; the others wait for it."""
        with self._lock:
            if self._catalogue is None:
                with self.lineage(CATALOGUE_LIMIT_S) as lineage:
                    self._catalogue = read_catalogue(lineage)
            return self._catalogue

    @contextmanager
    def lineage(self, limit_s: float = TIME_LIMIT_S) -> Iterator[Lineage]:
        """A reader of its own for one request, stopped after `limit_s` with a UserMistake."""
        cursor = self._connection.cursor()
        cursor.execute("use lineage")
        timer = threading.Timer(limit_s, cursor.interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield Lineage(self.home, cursor)
        except duckdb.InterruptException as error:
            raise UserMistake(f"this took longer than {limit_s:g} s and was stopped; narrow it") from error
        except duckdb.OutOfMemoryException as error:
            raise UserMistake("this needs more memory than a reader may take; narrow it") from error
        except DAMAGED as error:
            raise database_fault(error, self.home.lineage_db) from error
        finally:
            timer.cancel()
            cursor.close()

    def close(self) -> None:
        self._connection.close()

    def _signature(self) -> tuple[int, int]:
        stat = self.home.lineage_db.stat()
        return stat.st_ino, stat.st_mtime_ns
