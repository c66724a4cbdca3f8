"""Immutable Parquet files, written once and named by what they hold: `shards/attempt/8d1f….parquet`.

    >>> shards = Shards(home)
    >>> shards.write("example", [Example.of("1+1=", "2"), Example.of("2+1=", "3")])
    Manifest(table='example', shards=('8d1f…',), rows=2)

The name is a digest of the rows (`columns.content_digest`), so writing the same rows again writes nothing, and a file
that is not what its name says is found. A shard appears by rename, after its bytes are on the disk.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from storage.columns import conform, content_digest, to_columns, to_records
from storage.errors import DamagedShard
from storage.faults import reached
from storage.home import Home, atomic_write
from storage.manifest import Manifest
from storage.records import RECORDS, Record

R = TypeVar("R", bound=Record)

ROWS_PER_SHARD = 65_536
"""Half of a DuckDB row group: large enough to load fast, small enough to hold in memory."""

_BATCH_ROWS = 4_096
"""Rows that are Python objects at once."""

_KNOWN = 20_000
_known: dict[Path, tuple[int, int, int] | None] = {}
"""The latest files that this process wrote or digested, with what tells each of them from a later one of that name."""


class Shards:
    """The shards of one home."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def path(self, table: str, digest: str) -> Path:
        return self.home.shards / table / f"{digest}.parquet"

    def write(self, table: str, rows: Iterable[Record], rows_per_shard: int = ROWS_PER_SHARD) -> Manifest:
        """Stores the rows, in order, and says where: at most `rows_per_shard` of them are in memory at a time, as columns.

        Raises StorageFull when the disk is, with nothing half-written left behind.
        """
        writer = self.writer(table, rows_per_shard)
        writer.add(rows)
        return writer.finish()

    def writer(self, table: str, rows_per_shard: int = ROWS_PER_SHARD) -> "ShardWriter":
        """As `write`, for rows that come a few at a time; nothing is where readers look before a shard is full."""
        return ShardWriter(self, table, rows_per_shard)

    def write_columns(self, table: str, columns: pa.Table, rows_per_shard: int = ROWS_PER_SHARD) -> Manifest:
        """As `write`, from columns: the way for millions of rows. Ids may be UUIDs or 16 bytes."""
        whole = conform(table, columns)
        starts = range(0, whole.num_rows, rows_per_shard)
        digests = tuple(self._store(table, whole.slice(start, rows_per_shard)) for start in starts)
        return Manifest(table, digests, whole.num_rows)

    def read(self, manifest: Manifest, record: type[R], start: int = 0, stop: int | None = None) -> list[R]:
        """Rows `start` to `stop` of a manifest, in order. Raises DamagedShard if a file is missing or unreadable."""
        return list(self.iterate(manifest, record, start, stop))

    def iterate(self, manifest: Manifest, record: type[R], start: int = 0, stop: int | None = None) -> Iterator[R]:
        """As `read`, one shard in memory at a time, and few of its rows as Python objects."""
        if manifest.table != record.TABLE:
            raise ValueError(f"a manifest of {manifest.table} holds no {record.__name__} rows")
        for columns in self.iterate_columns(manifest, start, stop):
            for first in range(0, columns.num_rows, _BATCH_ROWS):
                yield from to_records(record, columns.slice(first, _BATCH_ROWS))

    def iterate_columns(self, manifest: Manifest, start: int = 0, stop: int | None = None) -> Iterator[pa.Table]:
        """As `iterate`, as columns, one Arrow table a shard."""
        end = manifest.rows if stop is None else min(stop, manifest.rows)
        first = 0
        for digest in manifest.shards:
            if first >= end:
                return
            rows = self.rows(manifest.table, digest)
            if first + rows > start:
                columns = self.table(digest, manifest.table)
                low, high = max(start - first, 0), min(end - first, rows)
                yield columns.slice(low, high - low)
            first += rows

    def rows(self, table: str, digest: str) -> int:
        """How many rows a shard has, from its footer."""
        path = self.path(table, digest)
        try:
            return pq.read_metadata(path).num_rows
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(table, digest, error) from error

    def table(self, digest: str, table: str | None = None) -> pa.Table:
        """A shard's columns, with the schema of its table; its pages' checksums are checked, its digest is not (see `verified`)."""
        name = table or self._table_of(digest)
        try:
            return conform(name, pq.ParquetFile(self.path(name, digest), page_checksum_verification=True).read())
        except (OSError, ValueError, pa.ArrowException) as error:
            raise self._damaged(name, digest, error) from error

    def verified(self, digest: str, table: str | None = None) -> pa.Table:
        """A shard's columns, after checking that they are what its name says. Raises DamagedShard if not."""
        name = table or self._table_of(digest)
        columns = self.table(digest, name)
        found = content_digest(name, columns)
        if found != digest:
            raise DamagedShard(
                f"shard {digest} of {name} holds rows with the digest {found}; "
                f"remove {self.path(name, digest)} and run the same command again"
            )
        return columns

    def verify(self, digest: str, table: str | None = None) -> None:
        """Raises DamagedShard unless the shard is there and its rows have its digest."""
        self.verified(digest, table)

    def own(self, digest: str, table: str) -> bool:
        """Whether this process wrote the shard or has digested it, and its file is still the same; no row is read."""
        path = self.path(table, digest)
        return (state := _state(path)) is not None and _known.get(path) == state

    def paths(self, manifest: Manifest) -> list[Path]:
        """The files of a manifest, in order; for processes that read Parquet themselves."""
        return [self.path(manifest.table, digest) for digest in manifest.shards]

    def exists(self, manifest: Manifest) -> bool:
        """Whether every shard of a manifest has its file; `verify` says whether the file is right."""
        return all(path.is_file() for path in self.paths(manifest))

    def intact(self, manifest: Manifest) -> bool:
        """Whether every shard of a manifest is there and holds what its name says; a file that did not change is read once."""
        return all(self._intact(manifest.table, digest) for digest in manifest.shards)

    def _store(self, table: str, columns: pa.Table) -> str:
        digest = content_digest(table, columns)
        path = self.path(table, digest)
        if self._intact(table, digest):
            return digest
        sink = pa.BufferOutputStream()
        # Page checksums let any reader notice damage; statistics on random ids would only cost space.
        pq.write_table(columns, sink, compression="zstd", write_statistics=False, write_page_checksum=True)
        reached("shard-before-write")
        atomic_write(path, memoryview(sink.getvalue()), "shard-before-rename")
        reached("shard-after-rename")
        _remember(path, _state(path))
        return digest

    def _intact(self, table: str, digest: str) -> bool:
        if self.own(digest, table):
            return True
        path = self.path(table, digest)
        state = _state(path)
        try:
            self.verify(digest, table)
        except DamagedShard:
            return False
        _remember(path, state)
        return True

    def _table_of(self, digest: str) -> str:
        for table in RECORDS:
            if self.path(table, digest).is_file():
                return table
        raise DamagedShard(f"shard {digest} is missing under {self.home.shards}; run the same command again")

    def _damaged(self, table: str, digest: str, error: Exception) -> DamagedShard:
        path = self.path(table, digest)
        if not path.is_file():
            return DamagedShard(f"shard {digest} of {table} is missing; run the same command again to make it anew")
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return DamagedShard(f"shard {digest} of {table} cannot be read ({reason}); remove {path} and run again")


class ShardWriter:
    """Rows on their way into shards. They wait as columns, a fifth of the size of Python objects."""

    def __init__(self, shards: Shards, table: str, rows_per_shard: int) -> None:
        self._shards = shards
        self._table = table
        self._rows_per_shard = rows_per_shard
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._digests: list[str] = []
        self._rows = 0

    def add(self, rows: Iterable[Record]) -> None:
        """Appends rows. Raises StorageFull when the disk is."""
        stream = iter(rows)
        while batch := list(islice(stream, min(_BATCH_ROWS, self._rows_per_shard - self._waiting_rows))):
            self._append(to_columns(self._table, batch))

    def add_columns(self, columns: pa.Table) -> None:
        """As `add`, from columns; ids may be UUIDs or 16 bytes."""
        rest = conform(self._table, columns)
        while rest.num_rows:
            room = self._rows_per_shard - self._waiting_rows
            self._append(rest.slice(0, room))
            rest = rest.slice(room)

    def finish(self) -> Manifest:
        """Stores what is waiting; where all rows are."""
        if self._waiting:
            self._seal()
        return Manifest(self._table, tuple(self._digests), self._rows)

    def _append(self, columns: pa.Table) -> None:
        self._waiting.append(columns)
        self._waiting_rows += columns.num_rows
        self._rows += columns.num_rows
        if self._waiting_rows == self._rows_per_shard:
            self._seal()

    def _seal(self) -> None:
        whole = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting, self._waiting_rows = [], 0
        self._digests.append(self._shards._store(self._table, whole))


def _remember(path: Path, state: tuple[int, int, int] | None) -> None:
    _known[path] = state
    while len(_known) > _KNOWN:
        _known.pop(next(iter(_known)), None)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
