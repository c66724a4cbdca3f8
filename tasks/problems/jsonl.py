"""Anyone's own problems, one JSON object a line: `jsonl:questions.jsonl,question=input,gold=answer`.

    {"question": "What is 2 + 2?", "gold": "4", "split": "train"}

The options after the path are the field map and the settings of `mapped`.
"""

from pathlib import Path

from tasks.problems.mapped import MappedProblems, Mapping
from tasks.problems.source import read_jsonl


def load(options: str) -> MappedProblems:
    """The set in a file, checked row by row; UserMistake names the row of the first one that does not fit."""
    path, *rest = options.split(",")
    return MappedProblems(f"jsonl:{options}", path, read_jsonl(Path(path)), Mapping("jsonl", rest))
