"""Where else a forgotten text stands: logs, reports, journals, the outbox, MLflow's store; and a last look through all.

`redact` takes it out of everything that is not the ledger's own. `remaining` looks at every file under the home
afterwards, Parquet and databases decompressed. Texts shorter than `SHORTEST` characters cannot be told from other text,
and weights cannot be read at all: neither is looked for.
"""

import html
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from storage.errors import StorageFault
from storage.home import Home, atomic_write, writing

compute: Any = pyarrow.compute
"""Its functions are made when it is imported, where no type checker sees them."""

SHORTEST = 8
"""Characters of the shortest text that is looked for as part of another."""

MOST = 200
"""Of more texts than this, so many are looked for as parts of others; all of them as whole values."""

MARK = b"[forgotten]"

_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth"}
_OWN = ("shards", "events", "checkpoints", "results", "trainings")
_SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Trace:
    """A place under the home that holds one of the texts. `rows`: in how many rows of a table, None for a plain file."""

    place: str
    rows: int | None = None


def redact(home: Home, texts: Sequence[str], runs: Iterable[str]) -> None:
    """Takes the texts out of everything beside the ledger; reports of these runs go, since `starloop report` writes them."""
    for run in runs:
        (home.reports / f"{run}.html").unlink(missing_ok=True)
    patterns = _patterns(texts)
    if not patterns:
        return
    for path in _files(home):
        if path.relative_to(home.root).parts[0] in _OWN or path.suffix in _WEIGHTS or ".duckdb" in path.name:
            continue
        with writing(path):
            data = path.read_bytes()
            if data.startswith(_SQLITE):
                _redact_sqlite(path, texts)
            elif found := [pattern for pattern in patterns if pattern in data]:
                _redact_file(home, path, data, found)


def remaining(home: Home, texts: Sequence[str], ledger: duckdb.DuckDBPyConnection) -> list[Trace]:
    """Every place that still holds one of the texts; `ledger` is the writer's database, attached."""
    patterns, whole = _patterns(texts), [text for text in texts if len(text) >= SHORTEST]
    found = [Trace(f"ledger.duckdb, {table}", rows) for table, rows in _in_duckdb(ledger, whole)]
    for path in _files(home):
        place = str(path.relative_to(home.root))
        if path.suffix in _WEIGHTS:
            continue
        if path.suffix == ".parquet":
            rows = rows_with(path, whole)
            found += [Trace(place, rows)] if rows else []
            continue
        try:
            data = path.read_bytes()
        except OSError:
            continue
        if data.startswith(_SQLITE) and (rows := _in_sqlite(path, whole)):
            found.append(Trace(place, rows))
        elif any(pattern in data for pattern in patterns):
            found.append(Trace(place))
    return found


def rows_with(path: Path, texts: Sequence[str]) -> int:
    """In how many rows of a Parquet file a text is a value or a part of one."""
    try:
        columns = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException):
        return 0  # damaged: `verify` names it
    strings = [column for column in columns.columns if pa.types.is_string(column.type)]
    parts = [text for text in texts[:MOST] if len(text) >= SHORTEST]
    hits = np.zeros(columns.num_rows, bool)
    for column in strings:
        hits |= _true(compute.is_in(column, pa.array(texts, pa.string())))
        for text in parts:
            hits |= _true(compute.match_substring(column, text))
    return int(hits.sum())


def _true(marks: pa.ChunkedArray) -> Any:
    return compute.fill_null(marks, False).to_numpy()


def _files(home: Home) -> Iterator[Path]:
    return (path for path in sorted(home.root.rglob("*")) if path.is_file() and not path.is_symlink())


def _patterns(texts: Sequence[str]) -> list[bytes]:
    """The texts as they stand in plain files: as they are, and escaped for JSON and HTML."""
    found: dict[bytes, None] = {}
    for text in islice((text for text in texts if len(text) >= SHORTEST), MOST):
        markup = html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")
        for form in (
            text,
            json.dumps(text)[1:-1],
            json.dumps(text, ensure_ascii=False)[1:-1],
            html.escape(text),
            markup,
        ):
            found[form.encode("utf-8", "surrogatepass")] = None
    return list(found)


def _redact_file(home: Home, path: Path, data: bytes, found: list[bytes]) -> None:
    if path.is_relative_to(home.reports):
        path.unlink()
    elif path.is_relative_to(home.journals):
        lines = [line for line in data.splitlines(keepends=True) if not any(pattern in line for pattern in found)]
        atomic_write(path, b"".join(lines))
    else:
        for pattern in sorted(found, key=len, reverse=True):
            data = data.replace(pattern, MARK)
        atomic_write(path, data)


def _redact_sqlite(path: Path, texts: Sequence[str]) -> None:
    """Replaces the texts in every column, and rewrites the file, so that no free page keeps them."""
    try:
        with closing(sqlite3.connect(path, timeout=30)) as database:
            changed = 0
            for table, column in _sqlite_columns(database):
                for text in islice((text for text in texts if len(text) >= SHORTEST), MOST):
                    update = f'update "{table}" set "{column}" = replace("{column}", ?, ?) where instr("{column}", ?)'
                    changed += database.execute(update, (text, MARK.decode(), text)).rowcount
            database.commit()
            if changed:
                database.execute("vacuum")
    except sqlite3.Error as error:
        raise StorageFault(
            f"{path} cannot be searched for what was forgotten ({error}); end what uses it, and run again"
        ) from error


def _sqlite_columns(database: sqlite3.Connection) -> list[tuple[str, str]]:
    query = (
        "select m.name, c.name from sqlite_master m join pragma_table_info(m.name) c "
        "where m.type = 'table' and m.name not like 'sqlite_%'"
    )
    return [(table, column) for table, column in database.execute(query)]


def _in_sqlite(path: Path, texts: Sequence[str]) -> int:
    rows = 0
    with closing(sqlite3.connect(path, timeout=30)) as database:
        for table, column in _sqlite_columns(database):
            for text in texts[:MOST]:
                query = f'select count(*) from "{table}" where instr("{column}", ?)'
                rows += database.execute(query, (text,)).fetchone()[0]
    return rows


def _in_duckdb(connection: duckdb.DuckDBPyConnection, texts: Sequence[str]) -> Iterator[tuple[str, int]]:
    if not texts:
        return
    query = (
        "select table_name, list(column_name) from duckdb_columns() where database_name = 'ledger' and not internal "
        "and data_type in ('VARCHAR', 'JSON') and table_name in (select table_name from duckdb_tables() "
        "where database_name = 'ledger') group by 1 order by 1"
    )
    tables = connection.execute(query).fetchall()
    connection.register("sought", pa.table({"text": list(texts), "part": [n < MOST for n in range(len(texts))]}))
    for table, columns in tables:
        whole = " or ".join(f"t.{column}::varchar in (select text from sought)" for column in columns)
        part = " or ".join(f"contains(t.{column}::varchar, s.text)" for column in columns)
        query = (
            f"select count(*) from {table} t where {whole} or exists (select 1 from sought s where s.part and ({part}))"
        )
        if rows := connection.execute(query).fetchall()[0][0]:
            yield table, rows
    connection.unregister("sought")
