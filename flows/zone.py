"""Is this the right model for this task? The verdict on a base model, from what it did on some held-out problems.

    judge(Tally(right=44, wrong=156))    →  Zone(verdict='below', …): 22 % [17, 28] …

Self-training needs answers that are sometimes right: below a quarter there is too little to learn from, above three quarters little to gain, and between lies
the zone of proximal development. A bound that lies inside the interval decides nothing, so such a verdict is said to be borderline. Pure:
`starloop zpd` measures, and this judges.
"""

from dataclasses import dataclass
from typing import Literal

from storage.errors import UserMistake
from storage.significance import Interval, wilson

LOW, HIGH = 0.25, 0.75
SCAFFOLDED = 0.25
"""From this share on, several samples or a hint give enough right answers to start from, though one sample does not."""
MOST_UNDECIDED = 0.1
ENOUGH = 200

Verdict = Literal["below", "in", "above", "unknown"]


@dataclass(frozen=True, slots=True)
class Tally:
    """What a base model did on held-out problems; undecided verdicts are in no rate.

    `solved_in_8` of `tried_8`: problems that one of eight samples solved. `rationalized` of `failed`: wrong answers that the hint turned
    right. Those that were not measured are None.
    """

    right: int
    wrong: int
    undecided: int = 0
    solved_in_8: int | None = None
    tried_8: int = 0
    rationalized: int | None = None
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Zone:
    """`verdict`: below, in or above the zone, or unknown. `sure`: the interval lies wholly on one side of the bounds. `advice`: whole
    sentences, the most important first.
    """

    verdict: Verdict
    sure: bool
    accuracy: float | None
    interval: Interval
    pass_at_8: float | None
    rationalization_rate: float | None
    advice: tuple[str, ...]

    @property
    def stops(self) -> bool:
        """Whether a loop that is told to stop outside the zone should: only on a sure verdict that no scaffolding helps."""
        return self.sure and self.verdict in {"below", "above"} and not self._scaffolded

    @property
    def _scaffolded(self) -> bool:
        helped = max(self.pass_at_8 or 0.0, self.rationalization_rate or 0.0)
        return self.verdict == "below" and helped >= SCAFFOLDED


def judge(tally: Tally) -> Zone:
    """The zone that these counts place a model in; UserMistake for counts that cannot be."""
    _check(tally)
    decided = tally.right + tally.wrong
    accuracy = tally.right / decided if decided else None
    interval = wilson(accuracy or 0.0, decided)
    pass_at_8 = None if tally.solved_in_8 is None or not tally.tried_8 else tally.solved_in_8 / tally.tried_8
    helped = None if tally.rationalized is None or not tally.failed else tally.rationalized / tally.failed
    verdict = _verdict(accuracy)
    sure = accuracy is not None and not any(interval.low < bound < interval.high for bound in (LOW, HIGH))
    advice = [*_on_verifier(tally), *_on_verdict(verdict, pass_at_8, helped)]
    if accuracy is not None and not sure:
        advice.append(
            f"Borderline: a bound of the zone lies inside {percent(interval.low)} to {percent(interval.high)}; "
            f"{'ask more problems than these ' + str(decided) if decided < 2 * ENOUGH else 'the choice is yours'}."
        )
    return Zone(verdict, sure, accuracy, interval, pass_at_8, helped, tuple(advice))


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _check(tally: Tally) -> None:
    counts = (tally.right, tally.wrong, tally.undecided, tally.solved_in_8 or 0, tally.rationalized or 0)
    if min(counts) < 0 or (tally.solved_in_8 or 0) > tally.tried_8 or (tally.rationalized or 0) > tally.failed:
        raise UserMistake(f"these counts cannot be: {tally}; none may be negative, and no part larger than its whole")


def _verdict(accuracy: float | None) -> Verdict:
    if accuracy is None:
        return "unknown"
    return "below" if accuracy < LOW else "above" if accuracy > HIGH else "in"


def _on_verifier(tally: Tally) -> list[str]:
    total = tally.right + tally.wrong + tally.undecided
    if not total or tally.undecided <= MOST_UNDECIDED * total:
        return []
    return [
        f"{tally.undecided} of {total} verdicts are undecided: look at the verifier first, since nothing else here can be trusted."
    ]


def _on_verdict(verdict: Verdict, pass_at_8: float | None, helped: float | None) -> list[str]:
    match verdict:
        case "unknown":
            return ["No verdict was reached, so nothing can be said; audit the verifier on the user's own answers."]
        case "in":
            return ["In the zone: go on."]
        case "above":
            return ["Above the zone: there is little to gain; take harder problems, or a smaller model."]
        case "below":
            return ["Below the zone: take a larger model, or easier problems.", *_scaffolds(pass_at_8, helped)]


def _scaffolds(pass_at_8: float | None, helped: float | None) -> list[str]:
    said = []
    if pass_at_8 is not None:
        if pass_at_8 >= SCAFFOLDED:
            said.append(f"One of eight samples solves {percent(pass_at_8)}, so samples=8 may be enough to start from.")
        else:
            said.append(f"Eight samples solve {percent(pass_at_8)}: more samples alone will not do.")
    if helped is not None:
        if helped >= SCAFFOLDED:
            said.append(
                f"With the answer as a hint {percent(helped)} of the failures are solved: rationalize in all iterations."
            )
        else:
            said.append(f"Even with the answer as a hint only {percent(helped)} of the failures are solved.")
    return said
