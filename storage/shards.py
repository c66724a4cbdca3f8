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
from storage.home import Home, atomic_write
from storage.manifest import Manifest
from storage.records import RECORDS, Record

R = TypeVar("R", bound=Record)

ROWS_PER_SHARD = 65_536
"""Half of a DuckDB row group: large enough to load fast, small enough to hold as Python rows."""


class Shards:
    """The shards of one home."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def path(self, table: str, digest: str) -> Path:
        return self.home.shards / table / f"{digest}.parquet"

    def write(self, table: str, rows: Iterable[Record], rows_per_shard: int = ROWS_PER_SHARD) -> Manifest:
        """Stores the rows, in order, and says where: at most `rows_per_shard` of them are in memory at a time.

        Raises StorageFull when the disk is, with nothing half-written left behind.
        """
        stream = iter(rows)
        digests: list[str] = []
        total = 0
        while batch := list(islice(stream, rows_per_shard)):
            digests.append(self._store(table, to_columns(table, batch)))
            total += len(batch)
        return Manifest(table, tuple(digests), total)

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
        """As `read`, one shard in memory at a time."""
        if manifest.table != record.TABLE:
            raise ValueError(f"a manifest of {manifest.table} holds no {record.__name__} rows")
        for columns in self.iterate_columns(manifest, start, stop):
            yield from to_records(record, columns)

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
        """A shard's columns, with the schema of its table; not checked against its digest (see `verified`)."""
        name = table or self._table_of(digest)
        try:
            return conform(name, pq.ParquetFile(self.path(name, digest)).read())
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

    def paths(self, manifest: Manifest) -> list[Path]:
        """The files of a manifest, in order; for processes that read Parquet themselves."""
        return [self.path(manifest.table, digest) for digest in manifest.shards]

    def exists(self, manifest: Manifest) -> bool:
        """Whether every shard of a manifest has its file; `verify` says whether the file is right."""
        return all(path.is_file() for path in self.paths(manifest))

    def _store(self, table: str, columns: pa.Table) -> str:
        digest = content_digest(table, columns)
        path = self.path(table, digest)
        if path.is_file() and self._intact(table, digest):
            return digest
        sink = pa.BufferOutputStream()
        # Page checksums let any reader notice damage; statistics on random ids would only cost space.
        pq.write_table(columns, sink, compression="zstd", write_statistics=False, write_page_checksum=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, memoryview(sink.getvalue()))
        return digest

    def _intact(self, table: str, digest: str) -> bool:
        try:
            self.verify(digest, table)
        except DamagedShard:
            return False
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
