"""Where the rows of a public set come from: a folder that has them, else the Hugging Face hub.

    rows(Source("gsm8k", "openai/gsm8k", "main"), "train")        # (row number, {"question": …, "answer": …}), …

The folder is STARLOOP_DATA_DIR, or the set's own option `data=FOLDER`; it holds a folder a set with `train.jsonl`, `validation.jsonl`,
`test.jsonl`, or the same as Parquet. The hub is asked through the `datasets` library, which keeps what it fetched.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import UserMistake

DATA_DIR = "STARLOOP_DATA_DIR"
SUFFIXES = (".jsonl", ".parquet")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """One public set: its folder's name here, and its name, configuration and revision on the hub."""

    folder: str
    hub: str
    configuration: str | None = None
    revision: str | None = None
    data_dir: str | None = None


@dataclass(frozen=True, slots=True)
class Numbered:
    """A row and where it stands, as an error names it: `…/train.jsonl row 3`."""

    where: str
    row: Row


def options_of(name: str, options: str, known: dict[str, str]) -> dict[str, str]:
    """`data=…,revision=…` beside a set's own options, each with its usual value; UserMistake for an unknown one."""
    chosen = {"data": "", "revision": ""} | known
    for option in filter(None, options.split(",")):
        key, equals, value = option.partition("=")
        if key not in chosen or not equals:
            raise UserMistake(f"{name} has no option {option!r}; it has: {', '.join(chosen)}, each as name=value")
        chosen[key] = value
    return chosen


def rows(source: Source, split: str) -> Iterator[Numbered]:
    """The rows of one of the source's own splits; UserMistake where it cannot be had."""
    path = file_of(source, split)
    if path is not None:
        return read(path)
    if folder := _data_dir(source):
        raise UserMistake(
            f"{folder} has no {source.folder}/{split}.jsonl (or .parquet); add it, or unset {DATA_DIR} to take {source.hub} "
            "from the hub"
        )
    return hub_rows(source.hub, split, source.configuration, source.revision)


def file_of(source: Source, split: str) -> Path | None:
    """The file that holds a split, if a data folder has one."""
    folder = _data_dir(source)
    if folder is None:
        return None
    names = [folder / source.folder / f"{split}{suffix}" for suffix in SUFFIXES]
    return next((path for path in names if path.is_file()), None)


def read(path: Path) -> Iterator[Numbered]:
    """The rows of a JSONL or Parquet file, counted from 1 as they stand in the file; empty lines are left out."""
    return read_parquet(path) if path.suffix == ".parquet" else read_jsonl(path)


def hub_rows(
    name: str, split: str, configuration: str | None = None, revision: str | None = None
) -> Iterator[Numbered]:
    """The rows of a split of a data set on the hub, or of a folder that `datasets` can load."""
    found = _asked(
        name, f"split {split}", lambda hub: hub.load_dataset(name, configuration, split=split, revision=revision)
    )
    return (Numbered(f"{name} {split} row {number}", dict(row)) for number, row in enumerate(found, start=1))


def hub_splits(name: str, configuration: str | None = None, revision: str | None = None) -> list[str]:
    """The splits that a data set has."""
    return _asked(
        name, "splits", lambda hub: hub.get_dataset_split_names(name, configuration, revision=revision)
    )  # fmt: skip


def _asked(name: str, what: str, ask: Callable[[Any], Any]) -> Any:
    """What the `datasets` library answers; whatever it raises as one sentence."""
    try:
        import datasets
    except ImportError:
        raise UserMistake(f"{name} needs the package datasets; pip install datasets") from None
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bar()
    try:
        return ask(datasets)
    except Exception as cause:  # it raises what its readers, the hub's client and the network raise
        sentence = str(cause).strip().splitlines() or [type(cause).__name__]
        raise UserMistake(
            f"the {what} of data set {name!r} cannot be loaded: {sentence[0].rstrip('.')}; check name, configuration and split, or "
            f"the network; {DATA_DIR} names a folder of the public sets"
        ) from cause
    finally:
        if shown:
            datasets.enable_progress_bar()


def text(numbered: Numbered, field: str) -> str:
    """A field that must hold text."""
    value = numbered.row.get(field)
    if not isinstance(value, str) or not value.strip():
        raise UserMistake(
            f"{numbered.where} has no text under {field!r}; it has: {', '.join(numbered.row) or 'nothing'}"
        )
    return value


def _data_dir(source: Source) -> Path | None:
    named = source.data_dir or os.environ.get(DATA_DIR)
    if not named:
        return None
    folder = Path(named)
    if not folder.is_dir():
        raise UserMistake(
            f"the data folder {named} is not there; give one that has {source.folder}/, or unset {DATA_DIR}"
        )
    return folder


def read_jsonl(path: Path) -> Iterator[Numbered]:
    """One object a line; empty lines are left out and counted."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as mistake:
        raise UserMistake(f"{path} cannot be read: {mistake}") from mistake
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path} row {number}"
        try:
            row = json.loads(line)
        except ValueError as mistake:
            raise UserMistake(f"{where} is no JSON: {mistake}") from mistake
        if not isinstance(row, dict):
            raise UserMistake(f"{where} is a {type(row).__name__}; give an object")
        yield Numbered(where, row)


def read_parquet(path: Path) -> Iterator[Numbered]:
    """The rows of a Parquet file, a thousand in memory at a time."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(1000):
                for row in batch.to_pylist():
                    number += 1
                    yield Numbered(f"{path} row {number}", row)
    except (OSError, pyarrow.ArrowException) as mistake:
        raise UserMistake(f"{path} cannot be read: {mistake}") from mistake
