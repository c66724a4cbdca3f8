"""What sets of multiple-choice questions share: options under letters, whatever the set calls them.

{"label": ["1", "2"], "text": ["dry", "wet"]}, "2"  →  info {"choices": {"A": "dry", "B": "wet"}}, gold "B"
"""

from string import ascii_uppercase
from typing import Any

from storage.errors import UserMistake
from storage.records import Problem
from tasks.problems.source import Numbered


def problem_of(
    source: str, split: str, question: str, choices: Any, key: Any, numbered: Numbered, stratum: str, licence: str
) -> Problem:
    """The problem; UserMistake names the row of one whose options or answer do not fit."""
    labels, texts = _parted(choices)
    if len(texts) < 2 or len(labels) != len(texts) or not all(isinstance(one, str) and one.strip() for one in texts):
        raise UserMistake(
            f"{numbered.where} has no two options with a text each; give label and text lists of equal length"
        )
    if key not in labels:
        raise UserMistake(f"{numbered.where} has no answer: its key {key!r} is none of its options' labels {labels}")
    options = dict(zip(ascii_uppercase, map(str.strip, texts), strict=False))
    return Problem.of(
        source, split, question, ascii_uppercase[labels.index(key)], info={"choices": options}, stratum=stratum, licence=licence
    )  # fmt: skip


def _parted(choices: Any) -> tuple[list[Any], list[Any]]:
    """Labels and texts, from two lists or from a list of pairs."""
    if isinstance(choices, dict):
        return list(choices.get("label") or []), list(choices.get("text") or [])
    if isinstance(choices, list) and all(isinstance(one, dict) for one in choices):
        return [one.get("label") for one in choices], [one.get("text") for one in choices]
    return [], []
