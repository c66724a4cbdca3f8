"""Rows as columns: the Arrow schema of each table, records to columns and back, and the digest of their content.

    >>> table = to_columns("example", [Example.of("1+1=", "2")])
    >>> content_digest("example", table)
    '5b0d…'                                             # the same on every pyarrow, in whatever chunks the rows came

The digest covers the table's name, the number of rows and every column's name, type, validity and values, and never
the bytes of a Parquet file, which change with the library that wrote them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from operator import attrgetter
from types import NoneType
from typing import Any, TypeVar, cast, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.errors import StorageFault
from storage.identity import canonical_json
from storage.records import ID_FIELDS, RECORDS, Record

R = TypeVar("R", bound=Record)

_PLAIN = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
_FORMAT = "starloop-shard-1"


def is_id(column: str) -> bool:
    """Whether a column of a record holds ids, which are stored as UUIDs."""
    return column.endswith("_id") or column in ID_FIELDS


@cache
def schema(table: str) -> pa.Schema:
    """The Arrow schema of a content table, from its record's annotations."""
    return pa.schema([_field(column.name, column.type) for column in fields(RECORDS[table])])


def to_columns(table: str, rows: Sequence[Record]) -> pa.Table:
    """The rows as an Arrow table. Raises StorageFault for text that UTF-8 cannot hold, ValueError for a wrong row."""
    record = RECORDS[table]
    if not all(type(row) is record for row in rows):
        wrong = next(type(row).__name__ for row in rows if type(row) is not record)
        raise ValueError(f"a shard of {table} holds {record.__name__} rows, not {wrong}")
    columns = [_column(table, field, list(map(attrgetter(field.name), rows))) for field in schema(table)]
    return pa.Table.from_arrays(columns, schema=schema(table))


def to_records(record: type[R], columns: pa.Table) -> list[R]:
    """The records of an Arrow table that has their schema."""
    return [record(*row) for row in zip(*(_values(column) for column in columns.columns), strict=True)]


def conform(table: str, columns: pa.Table) -> pa.Table:
    """The columns in the table's order and types; ids may come as 16 bytes. Raises ValueError where they do not fit."""
    wanted = schema(table)
    missing = [name for name in wanted.names if name not in columns.column_names]
    if missing:
        raise ValueError(f"rows of {table} lack the column {missing[0]}; a {table} has {', '.join(wanted.names)}")
    arrays = []
    for field in wanted:
        column = columns.column(field.name)
        if column.type != field.type:
            column = _storage(column) if is_id(field.name) else column
            column = column.cast(field.type)
        if column.null_count and not field.nullable:
            raise ValueError(f"{table}.{field.name} is empty in {column.null_count} rows; every {table} has one")
        arrays.append(column)
    return pa.Table.from_arrays(arrays, schema=wanted)


def content_digest(table: str, columns: pa.Table) -> str:
    """32 hex digits of what the rows are: equal for equal rows, however they are chunked, sliced or written."""
    whole = hashlib.blake2b(digest_size=16)
    whole.update(canonical_json([_FORMAT, table, columns.num_rows]).encode())
    for field in schema(table):
        whole.update(canonical_json([field.name, _type_name(field.name, field.type)]).encode())
        for part in _column_digests(_storage(columns.column(field.name))):
            whole.update(part)
    return whole.hexdigest()


def id_bytes(ids: Sequence[str | None], what: str) -> pa.Array:
    """UUIDs from 32 hex digits each. Raises ValueError, naming `what`, for anything else."""
    empty = [value is None for value in ids]
    filled = ["0" * 32 if value is None else value for value in ids]
    try:
        data = bytes.fromhex("".join(filled))
    except (ValueError, TypeError):
        data = b""
    if len(data) != 16 * len(filled) or any(len(value) != 32 for value in filled):
        wrong = next((value for value in filled if not _is_hex(value)), None)
        raise ValueError(f"{what} holds {wrong!r}, where 32 hex digits belong")
    validity = pa.py_buffer(np.packbits(~np.array(empty), bitorder="little").tobytes()) if any(empty) else None
    storage = pa.Array.from_buffers(pa.binary(16), len(filled), [validity, pa.py_buffer(data)])
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)


def _field(name: str, annotation: Any) -> pa.Field:
    types = [kind for kind in (get_args(annotation) or (annotation,)) if kind is not NoneType]
    kind = pa.uuid() if is_id(name) else _PLAIN[types[0]]
    return pa.field(name, kind, nullable=NoneType in get_args(annotation))


def _column(table: str, field: pa.Field, values: list[Any]) -> pa.Array | pa.ChunkedArray:
    what = f"{table}.{field.name}"
    if not field.nullable and None in values:
        raise ValueError(f"{what} is empty in row {values.index(None)}; every {table} has one")
    if is_id(field.name):
        return id_bytes(values, what)
    try:
        return pa.array(values, field.type)
    except UnicodeEncodeError as error:
        raise StorageFault(
            f"{what} holds {error.object[error.start : error.end]!r}, half of a character, which no UTF-8 file can "
            "keep; whoever made the text must replace it before its id is made"
        ) from error
    except (pa.ArrowException, OverflowError) as error:
        raise ValueError(f"{what} holds a value that is no {field.type}: {error}") from error


def _values(column: pa.ChunkedArray) -> list[Any]:
    if column.type != pa.uuid():
        return column.to_pylist()
    data = [None if value is None else value.hex() for value in _storage(column).to_pylist()]
    return data


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids as plain 16-byte values, other columns as they are."""
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    kind = cast(pa.ExtensionType, column.type).storage_type
    return pa.chunked_array([chunk.storage for chunk in column.chunks], type=kind)


def _column_digests(column: pa.ChunkedArray) -> list[bytes]:
    validity, lengths, values = (hashlib.blake2b(digest_size=16) for _ in range(3))
    for chunk in column.chunks:
        if chunk.null_count:
            validity.update(chunk.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes())
        else:
            validity.update(b"\1" * len(chunk))
        if pa.types.is_string(chunk.type):
            _update_text(chunk, lengths, values)
        else:
            values.update(_fixed_width(chunk))
    return [validity.digest(), lengths.digest(), values.digest()]


def _update_text(chunk: pa.Array, lengths: Any, values: Any) -> None:
    clean = pc.fill_null(chunk, "") if chunk.null_count else chunk
    if not len(clean):
        return
    _, offset_buffer, data = clean.buffers()
    offsets = np.frombuffer(offset_buffer, "<i4")[clean.offset : clean.offset + len(clean) + 1]
    lengths.update(np.diff(offsets).astype("<i8").tobytes())
    if data is not None:
        values.update(memoryview(data)[int(offsets[0]) : int(offsets[-1])])


def _fixed_width(chunk: pa.Array) -> Any:
    if pa.types.is_fixed_size_binary(chunk.type):
        clean = pc.fill_null(chunk, b"\0" * 16) if chunk.null_count else chunk
        data = clean.buffers()[1]
        return memoryview(data)[16 * clean.offset : 16 * (clean.offset + len(clean))] if len(clean) else b""
    if pa.types.is_boolean(chunk.type):
        return pc.fill_null(chunk, False).cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes()
    if pa.types.is_integer(chunk.type):
        return pc.fill_null(chunk, 0).to_numpy(zero_copy_only=False).astype("<i8").tobytes()
    numbers = pc.fill_null(chunk, 0.0).to_numpy(zero_copy_only=False).astype("<f8")
    if np.isnan(numbers).any():
        numbers[np.isnan(numbers)] = np.nan
    return numbers.tobytes()


def _type_name(column: str, kind: pa.DataType) -> str:
    """Our own names, so that a library that renames its types renames no shard."""
    if is_id(column):
        return "id"
    return {pa.string(): "text", pa.int64(): "integer", pa.float64(): "real", pa.bool_(): "boolean"}[kind]


def _is_hex(value: object) -> bool:
    return isinstance(value, str) and len(value) == 32 and all(digit in "0123456789abcdefABCDEF" for digit in value)
