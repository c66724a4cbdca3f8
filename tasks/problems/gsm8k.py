"""Grade-school word problems (Cobbe et al. 2021): `gsm8k`, or `gsm8k:data=FOLDER`.

    Problem(source='gsm8k', split='train', question='Natalia sold clips to 48 of her friends …', gold='72',
            rationale='Natalia sold 48/2 = 24 clips in May.\\nNatalia sold 48+24 = 72 clips altogether …', stratum='2 steps')

The set has no dev split: the last 473 of its 7,473 train problems are dev. Test is its test. A train problem keeps its worked
solution, without the calculator's marks (`<<48/2=24>>`) and the last line, which is the gold answer.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from storage.errors import UserMistake
from storage.records import Problem
from tasks.problems.listed import ListedProblems
from tasks.problems.source import Numbered, Source, file_of, options_of, rows, text

LICENCE = "MIT"
DEV = 473
_MARK = re.compile(r"<<[^<>]*>>")


def load(options: str) -> ListedProblems:
    """The whole set; its rows are read when they are asked for."""
    source = _source(options)
    return ListedProblems(
        "gsm8k", LICENCE, "gsm8k", "numeric",
        {
            "train": lambda: [_problem("train", one) for one in list(rows(source, "train"))[:-DEV]],
            "dev": lambda: [_problem("dev", one) for one in list(rows(source, "train"))[-DEV:]],
            "test": lambda: [_problem("test", one) for one in rows(source, "test")],
        },
    )  # fmt: skip


def files(options: str) -> Sequence[Path]:
    """The files that it is read from, if it is read from files."""
    return [path for split in ("train", "test") if (path := file_of(_source(options), split))]


def _source(options: str) -> Source:
    chosen = options_of("gsm8k", options, {})
    return Source("gsm8k", "openai/gsm8k", "main", chosen["revision"] or None, chosen["data"] or None)


def _problem(split: str, numbered: Numbered) -> Problem:
    solution, mark, answer = text(numbered, "answer").rpartition("####")
    gold = answer.strip().replace(",", "")
    if not mark or not gold:
        raise UserMistake(f"{numbered.where} has no answer: its solution must end with '#### ' and a number")
    steps = [line.strip() for line in _MARK.sub("", solution).strip().splitlines() if line.strip()]
    return Problem.of(
        "gsm8k", split, text(numbered, "question").strip(), gold, rationale="\n".join(steps) if split == "train" else None,
        stratum=f"{min(len(steps), 8)}{'+' if len(steps) > 7 else ''} step{'s' if len(steps) > 1 else ''}", licence=LICENCE,
    )  # fmt: skip
