"""A training set as rows for other tools, each with where it came from.

    {"mix_id": "9a…", "position": 0, "example_id": "5f…", "prompt": "2+2=", "completion": "4", "origin": "sampled",
     "weight": 1.0, "pair": null, "problem_id": "0c…", "source": "addition", "licence": "CC0", "attempt_id": "8d…",
     "iteration": 1, "written_by": "51…", "hinted": false, "verdict": "passed", "verdict_id": "77…",
     "verifier": "sums@3f2a91c0", "sources": 2, "mix_iteration": 1}

Rows stream from the snapshot in the order in which they are trained on. Ids are 32 hex digits, without prefix.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import UserMistake
from storage.export.destination import new_file, new_folder
from storage.home import temporary_beside
from storage.identity import show
from storage.lineage import Lineage

BATCH_ROWS = 20_000
PAGE_ROWS = 100_000
"""How many rows are put in order at a time: sorting a whole set with its texts could take more memory than there is."""

SCHEMA = pa.schema(
    [
        pa.field("mix_id", pa.string()),
        pa.field("position", pa.int64()),
        pa.field("example_id", pa.string()),
        pa.field("prompt", pa.string()),
        pa.field("completion", pa.string()),
        pa.field("origin", pa.string()),
        pa.field("weight", pa.float64()),
        pa.field("pair", pa.int64()),
        pa.field("problem_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("licence", pa.string()),
        pa.field("attempt_id", pa.string()),
        pa.field("iteration", pa.int64()),
        pa.field("written_by", pa.string()),
        pa.field("hinted", pa.bool_()),
        pa.field("verdict", pa.string()),
        pa.field("verdict_id", pa.string()),
        pa.field("verifier", pa.string()),
        pa.field("sources", pa.int64()),
        pa.field("mix_iteration", pa.int64()),
    ]
)
"""The columns, in every format. `iteration` wrote the attempt; `mix_iteration` trains on it."""

FORMATS = "out.parquet, out.jsonl, or a folder's name for a `datasets` folder"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    path: Path
    mixes: tuple[str, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class _Mix:
    mix_id: str
    rows: int
    iteration: int | None


def export_training_set(lineage: Lineage, identity: str, to: Path, *, force: bool = False) -> Exported:
    """The training set that an id names: a mix, the one a checkpoint was trained on, or those of a run, one after another.

    Raises UserMistake for an id without one, an unknown format, and a name that is taken.
    """
    mixes = _mixes(lineage, identity)
    match to.suffix.lower():
        case ".parquet":
            rows = _parquet(lineage, mixes, to, force)
        case ".jsonl":
            rows = _lines(lineage, mixes, to, force)
        case "":
            rows = _folder(lineage, mixes, to, force)
        case other:
            raise UserMistake(f"no format for {other!r}; give {FORMATS}")
    return Exported(to, tuple(mix.mix_id for mix in mixes), rows)


def _mixes(lineage: Lineage, identity: str) -> list[_Mix]:
    named = lineage.find(identity, ("mix", "checkpoint", "run"))
    first = "(select min(iteration) from v_output where table_name = 'mix' and id = m.mix_id)"
    queries = {
        "mix": f"select m.mix_id, m.rows, {first} from mix m where m.mix_id = ?",
        "checkpoint": f"select m.mix_id, m.rows, {first} from checkpoint c join training t using (training_id) "
        "join mix m on m.mix_id = t.mix_id where c.checkpoint_id = ?",
        "run": "select m.mix_id, m.rows, min(o.iteration) from v_output o join mix m on m.mix_id = o.id "
        "where o.table_name = 'mix' and o.iteration > 0 and o.run_id = ? group by m.mix_id, m.rows order by 3, 1",
    }
    found = [_Mix(*row) for row in lineage.rows(queries[named.kind], [named.id])]
    if not found:
        prefix = {"checkpoint": "ckp", "run": "run"}[named.kind]
        why = "was not trained here" if named.kind == "checkpoint" else "has no training set yet"
        raise UserMistake(f"{show(prefix, named.id)} {why}, so there is nothing to export")
    return found


def _batches(lineage: Lineage, mixes: list[_Mix]) -> Iterator[pa.RecordBatch]:
    columns = ", ".join(
        f"replace({name}::varchar, '-', '') as {name}" if name.endswith("_id") or name == "written_by" else name
        for name in SCHEMA.names
        if name != "mix_iteration"
    )
    for mix in mixes:
        query = (
            f"select {columns}, ?::bigint as mix_iteration from v_mix_example "
            "where mix_id = ? and position >= ? and position < ? order by position"
        )
        for start in range(0, mix.rows, PAGE_ROWS):
            given = [mix.iteration, mix.mix_id, start, start + PAGE_ROWS]
            for batch in lineage.stream(query, given, BATCH_ROWS):
                yield from pa.Table.from_batches([batch]).select(SCHEMA.names).cast(SCHEMA).to_batches()


def _parquet(lineage: Lineage, mixes: list[_Mix], to: Path, force: bool) -> int:
    rows = 0
    about = {"starloop": json.dumps({"mixes": [mix.mix_id for mix in mixes]})}
    with (
        new_file(to, force) as temporary,
        pq.ParquetWriter(temporary, SCHEMA.with_metadata(about), compression="zstd") as out,
    ):
        for batch in _batches(lineage, mixes):
            out.write_batch(batch)
            rows += batch.num_rows
    return rows


def _lines(lineage: Lineage, mixes: list[_Mix], to: Path, force: bool) -> int:
    rows = 0
    with new_file(to, force) as temporary, open(temporary, "x", encoding="utf-8") as out:
        for batch in _batches(lineage, mixes):
            for row in batch.to_pylist():
                out.write(json.dumps(row, ensure_ascii=False) + "\n")
            rows += batch.num_rows
    return rows


def _folder(lineage: Lineage, mixes: list[_Mix], to: Path, force: bool) -> int:
    """What `datasets.load_from_disk` opens; the rows pass through one Arrow file, memory-mapped."""
    stream, rows = temporary_beside(to), 0
    with new_folder(to, force) as temporary:
        from datasets import Dataset, disable_progress_bars

        try:
            with pa.OSFile(str(stream), "wb") as sink, pa.ipc.new_stream(sink, SCHEMA) as out:
                for batch in _batches(lineage, mixes):
                    out.write_batch(batch)
                    rows += batch.num_rows
            disable_progress_bars()
            Dataset.from_file(str(stream)).save_to_disk(str(temporary))
        finally:
            stream.unlink(missing_ok=True)
    return rows
