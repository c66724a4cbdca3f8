"""How far a verifier can be trusted: its verdicts on labelled cases beside what a person says, and how fast it reaches them."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flows.cases import Case
from storage.significance import Interval, wilson
from tasks.judgements import Means, judgements
from tasks.verifiers.combined import conjunction
from tasks.verifiers.judge import verifier as judge_by
from tasks.verifiers.judging import judge
from tasks.verifiers.protocol import Judgement, Verifier
from tasks.verifiers.registry import ASKS, load

COMPARED = {"math": ("tasks.verifiers.baselines:last_number", "tasks.verifiers.baselines:math_verify")}
"""What is measured beside a verifier, on the same cases."""

CALLED = {
    "tasks.verifiers.baselines:last_number": "the last number",
    "tasks.verifiers.baselines:math_verify": "math-verify alone",
}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many of so many, with Wilson's 95 % interval."""

    count: int
    of: int
    interval: Interval

    @classmethod
    def among(cls, count: int, of: int) -> "Rate":
        return cls(count, of, wilson(count / of if of else 0.0, of))


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A case on which the verifier and the label differ."""

    case: Case
    said: Judgement


@dataclass(frozen=True, slots=True)
class Audit:
    """A verifier on a table. Undecided cases are neither accepted nor rejected; they are counted apart.

    `false_accepts` is among the cases that a person calls wrong, `false_rejects` among those called right, `decided_anyway` among
    those that nobody can decide. `wrong_among_passed` and `right_among_failed` go by the verifier's own word: where the cases were drawn
    by it (labels in a home), these are the rates that the draw does not bend. `per_second` leaves out cases that may hang or are
    gigantic, and the time to start.
    """

    verifier: str
    cases: int
    false_accepts: Rate
    false_rejects: Rate
    undecided: Rate
    decided_anyway: Rate
    wrong_among_passed: Rate
    right_among_failed: Rate
    per_second: float
    disagreements: tuple[Disagreement, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; of a case that is repeated, what is repeated and how often."""
        return asdict(self)


def audit(ref: str, cases: Sequence[Case], means: Means, seconds: float = 2.0) -> Audit:
    """The verifier on every case, then on the quick ones again for so many seconds."""
    said = verdicts(ref, cases, means)
    right = [one.passed for one, case in zip(said, cases, strict=True) if case.passed is True]
    wrong = [one.passed for one, case in zip(said, cases, strict=True) if case.passed is False]
    open_ = [one.passed for one, case in zip(said, cases, strict=True) if case.passed is None]
    differing = [
        Disagreement(case, one) for case, one in zip(cases, said, strict=True) if one.passed is not case.passed
    ]
    return Audit(
        ref,
        len(cases),
        Rate.among(sum(one is True for one in wrong), len(wrong)),
        Rate.among(sum(one is False for one in right), len(right)),
        Rate.among(sum(one is None for one in [*right, *wrong]), len(right) + len(wrong)),
        Rate.among(sum(one is not None for one in open_), len(open_)),
        Rate.among(sum(one is True for one in wrong), sum(one is True for one in [*right, *wrong])),
        Rate.among(sum(one is False for one in right), sum(one is False for one in [*right, *wrong])),
        throughput(ref, [case for case in cases if not (case.hangs or case.repeat[1])], means, seconds),
        tuple(differing),
    )


def verdicts(ref: str, cases: Sequence[Case], means: Means) -> list[Judgement]:
    """One judgement a case. `judge` without options is measured on the replies that the cases bring."""
    if ref == ASKS:
        return [conjunction(judge(_replying(case), case.attempt(), case.problem())) for case in cases]
    rows = [(case.attempt(), case.problem()) for case in cases]
    return [conjunction(said) for _, said in judgements(load(ref), rows, means)]


def throughput(ref: str, cases: Sequence[Case], means: Means, seconds: float) -> float:
    """Verdicts per second over whole passes, as many as fit."""
    if not cases:
        return 0.0
    passes, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        verdicts(ref, cases, means)
        passes += 1
    return passes * len(cases) / took


def _replying(case: Case) -> Verifier:
    return Verifier(ASKS, "tasks.verifiers.judge", judge_by(lambda prompt: case.reply))
