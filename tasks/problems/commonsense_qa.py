"""Everyday questions with five options (Talmor et al. 2019): `commonsense_qa`.

    Problem(source='commonsense_qa', split='train', question='Sammy wanted to go to where the people were. Where might he go?',
            gold='B', info={'choices': {'A': 'race track', 'B': 'populated areas', …}}, stratum='')

The answers of its own test split were never published, so test is its validation split, as in the papers, and the last 741 of
its 9,741 train questions are dev.
"""

from collections.abc import Sequence
from pathlib import Path

from storage.records import Problem
from tasks.problems.choices import problem_of
from tasks.problems.listed import ListedProblems
from tasks.problems.source import Numbered, Source, file_of, options_of, rows, text

LICENCE = "MIT"
DEV = 741


def load(options: str) -> ListedProblems:
    """The whole set; its rows are read when they are asked for."""
    source = _source(options)
    return ListedProblems(
        "commonsense_qa", LICENCE, "commonsense_qa", "choice",
        {
            "train": lambda: [_problem("train", one) for one in list(rows(source, "train"))[:-DEV]],
            "dev": lambda: [_problem("dev", one) for one in list(rows(source, "train"))[-DEV:]],
            "test": lambda: [_problem("test", one) for one in rows(source, "validation")],
        },
    )  # fmt: skip


def files(options: str) -> Sequence[Path]:
    """The files that it is read from, if it is read from files."""
    return [path for split in ("train", "validation") if (path := file_of(_source(options), split))]


def _source(options: str) -> Source:
    chosen = options_of("commonsense_qa", options, {})
    return Source("commonsense_qa", "tau/commonsense_qa", None, chosen["revision"] or None, chosen["data"] or None)


def _problem(split: str, numbered: Numbered) -> Problem:
    """A row as the hub has it, or as its authors published it: stem and choices inside `question`."""
    inner = numbered.row.get("question")
    asked = Numbered(numbered.where, inner) if isinstance(inner, dict) else numbered
    question = " ".join(text(asked, "stem" if isinstance(inner, dict) else "question").split())
    return problem_of(
        "commonsense_qa", split, question, asked.row.get("choices"), numbered.row.get("answerKey"), numbered, "", LICENCE
    )  # fmt: skip
