"""What a verifier is: a function from a text and its problem to a judgement, or to one for each of several aspects."""

from collections.abc import Callable
from dataclasses import dataclass

from storage.records import Problem


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verifier's word. `passed` None is undecided: no verdict could be reached, and `reason` says why.

    `answer` is what the text was read as saying; `score` is for partial credit and never decides. `aspect` names what
    was judged where that is not the final answer.
    """

    passed: bool | None
    answer: str | None = None
    score: float | None = None
    reason: str | None = None
    aspect: str = ""


Verify = Callable[[str, Problem], Judgement | list[Judgement]]


@dataclass(frozen=True, slots=True)
class Verifier:
    """A verifier with the ref it was loaded by and the module that its code digest starts from.

    `may_hang`: it belongs in a worker process. `asks`: its answers come from a model (see `judge`). `parts` and `how`: what
    a combination is made of, and whether all of it or any has to pass.
    """

    ref: str
    module: str
    verify: Verify
    may_hang: bool = False
    asks: bool = False
    parts: "tuple[Verifier, ...]" = ()
    how: str = ""
