"""What a problem set is: ordered problems in three splits, and what goes with them."""

from typing import Protocol, runtime_checkable

from storage.errors import UserMistake
from storage.records import Problem

SPLITS = ("train", "dev", "test")
"""train is learned from; dev is for choices and curves; test is looked at for base, final and promotion only."""


class ProblemSet(Protocol):
    """Problems with gold answers. The same arguments give the same problems, on every machine.

    A set may also have an `alphabet`: every character of its prompts and completions, newline last. Of one that has none
    all texts are read before an embedded model is made for it. One that is `Proposable` can take new problems from a model.
    """

    name: str
    """The ref it was loaded by; every problem carries it as `source`."""
    licence: str
    template: str
    """The prompt templates that fit it, as `tasks.prompts.render` takes them."""
    verifier: str
    """The ref of the verifier that judges it."""

    def size(self, split: str) -> int | None:
        """How many problems a split has; None for a stream without end."""
        ...

    def take(self, split: str, start: int, count: int) -> list[Problem]:
        """`count` problems from position `start`; fewer where the split ends."""
        ...

    def corpus(self, start: int, count: int) -> list[Problem]:
        """Worked examples for pre-training, with the completion as `rationale`; empty where the set has none."""
        ...


@runtime_checkable
class Proposable(Protocol):
    """A problem set that knows the answer to any question of its kind, whoever asks it."""

    def asked(self, text: str) -> Problem | None:
        """The train problem that a text asks, with its gold answer; None where it asks none that this set could."""
        ...

    def key(self, question: str) -> str:
        """Equal for questions that are the same but for the set's symmetry (a + b = b + a)."""
        ...


def check_split(split: str) -> None:
    """Raises UserMistake unless `split` is train, dev or test."""
    if split not in SPLITS:
        raise UserMistake(f"no split {split!r}; a problem set has: {', '.join(SPLITS)}")
