"""Science questions of school tests, multiple choice (Clark et al. 2018): `arc:challenge` (the default) or `arc:easy`.

    Problem(source='arc:challenge', split='train', question='George wants to warm his hands quickly by rubbing them. Which …',
            gold='A', info={'choices': {'A': 'dry palms', 'B': 'wet palms', 'C': …}}, stratum='4 options')

Its own splits: train, validation as dev, and test. Options are lettered anew, since some rows number them.
"""

from collections.abc import Sequence
from pathlib import Path

from storage.errors import UserMistake
from storage.records import Problem
from tasks.problems.choices import problem_of
from tasks.problems.listed import ListedProblems
from tasks.problems.source import Numbered, Source, file_of, options_of, rows, text

LICENCE = "CC-BY-SA-4.0"
PARTS = {"challenge": "ARC-Challenge", "easy": "ARC-Easy"}
THEIRS = {"train": "train", "dev": "validation", "test": "test"}


def load(options: str) -> ListedProblems:
    """One of its two parts."""
    part, source = _chosen(options)
    name = f"arc:{part}"
    return ListedProblems(
        name, LICENCE, "arc", "choice",
        {ours: lambda ours=ours, theirs=theirs: [_problem(name, ours, one) for one in rows(source, theirs)]
         for ours, theirs in THEIRS.items()},
    )  # fmt: skip


def files(options: str) -> Sequence[Path]:
    """The files that it is read from, if it is read from files."""
    _, source = _chosen(options)
    return [path for split in THEIRS.values() if (path := file_of(source, split))]


def _chosen(options: str) -> tuple[str, Source]:
    part, _, rest = options.partition(",")
    if "=" in part:
        part, rest = "challenge", options
    part = part or "challenge"
    if part not in PARTS:
        raise UserMistake(f"arc has no part {part!r}; it has: {', '.join(PARTS)}")
    chosen = options_of("arc", rest, {})
    return part, Source(
        f"arc_{part}", "allenai/ai2_arc", PARTS[part], chosen["revision"] or None, chosen["data"] or None
    )


def _problem(name: str, split: str, numbered: Numbered) -> Problem:
    choices = numbered.row.get("choices")
    return problem_of(
        name, split, text(numbered, "question").strip(), choices, numbered.row.get("answerKey"), numbered,
        f"{len(choices['text']) if isinstance(choices, dict) and choices.get('text') else 0} options", LICENCE,
    )  # fmt: skip
