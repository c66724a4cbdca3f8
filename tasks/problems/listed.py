"""A problem set that is a list: its splits are read when they are asked for, and no question stands in two of them.

Where a public set asks the same thing twice, test keeps it, then dev, and train does without. Questions count as the same when
they differ only in case, white space and punctuation at the end.

Not covered: that two differently worded questions are the same problem.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

from storage.records import Problem
from tasks.problems.protocol import check_split

Read = Callable[[], Sequence[Problem]]


class ListedProblems:
    """`read` makes the problems of each split, in order; a split that is not there has none."""

    def __init__(self, name: str, licence: str, template: str, verifier: str, read: dict[str, Read]) -> None:
        self.name, self.licence, self.template, self.verifier = name, licence, template, verifier
        self._read = read

    def size(self, split: str) -> int:
        return len(self._of(split))

    def take(self, split: str, start: int, count: int) -> list[Problem]:
        return list(self._of(split)[start : start + count])

    def corpus(self, start: int, count: int) -> list[Problem]:
        """The train problems that came with a worked solution."""
        return [problem for problem in self._train if problem.rationale is not None][start : start + count]

    @cached_property
    def _test(self) -> list[Problem]:
        return self._made("test", ())

    @cached_property
    def _dev(self) -> list[Problem]:
        return self._made("dev", self._test)

    @cached_property
    def _train(self) -> list[Problem]:
        return self._made("train", [*self._test, *self._dev])

    def _of(self, split: str) -> list[Problem]:
        check_split(split)
        return {"test": lambda: self._test, "dev": lambda: self._dev, "train": lambda: self._train}[split]()

    def _made(self, split: str, held_out: Sequence[Problem]) -> list[Problem]:
        barred = {key_of(problem.question) for problem in held_out}
        rows = self._read[split]() if split in self._read else ()
        return [problem for problem in rows if key_of(problem.question) not in barred]


def key_of(question: str) -> str:
    """What two ways of writing one question have in common."""
    return " ".join(question.lower().split()).rstrip(" .?!:")
