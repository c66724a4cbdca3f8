"""Anyone's own problems in a Parquet file: `parquet:questions.parquet,question=input,gold=answer`.

The options after the path are the field map and the settings of `mapped`; rows are counted from 1, as they stand in the file.
"""

from pathlib import Path

from tasks.problems.mapped import MappedProblems, Mapping
from tasks.problems.source import read_parquet


def load(options: str) -> MappedProblems:
    """The set in a file, checked row by row; UserMistake names the row of the first one that does not fit."""
    path, *rest = options.split(",")
    return MappedProblems(f"parquet:{options}", path, read_parquet(Path(path)), Mapping("parquet", rest))
