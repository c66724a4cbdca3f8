"""What a checkpoint has to pass before an alias moves to it: one function a gate, from the evidence to a ruling with its figures.

    >>> significance(evidence, limits)
    Ruling('significance', False, 'p = 0.21 is above 0.05: 31 gained and 22 lost of 1,000 items', {'p': 0.21, …})

A gate looks nothing up: `flows.evidence` has gathered what there is to know. What could not be measured is not passed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from storage.evidence import Looks, Met, Paired
from storage.significance import mcnemar

REPRODUCED = 10
"""How many recorded greedy answers a version has to give again."""


NOT_LOOKED = Looks(0, 0)


@dataclass(frozen=True, slots=True)
class Limits:
    """Where the gates stand. Shares, not per cent."""

    alpha: float = 0.05
    min_effect: float = 0.01
    max_drop: float = 0.02


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a checkpoint and of the one it is compared with (`against`: in words).

    `test` and `sets` (by name) are both on the same items; None with `uncompared` saying why. `same` and `asked`: recorded answers
    that the registered version gave again, and how many it was asked; `unloaded` says why it gave none.
    """

    against: str
    test: Paired | None
    uncompared: str = ""
    sets: Mapping[str, Paired] = field(default_factory=dict)
    looks: Looks = NOT_LOOKED
    met: tuple[Met, ...] = ()
    mixes: int = 0
    evaluations: int = 0
    tainted_examples: int = 0
    tainted_items: int = 0
    digest_fault: str | None = None
    files: int = 0
    same: int = 0
    asked: int = 0
    unloaded: str | None = None
    first_difference: str | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a gate says: whether it is passed, the sentence for people, and the figures for the ledger."""

    gate: str
    passed: bool
    said: str
    figures: dict[str, Any]

    def plain(self) -> dict[str, Any]:
        return {"gate": self.gate, "passed": self.passed, "said": self.said, "figures": self.figures}


def rule(evidence: Evidence, limits: Limits) -> list[Ruling]:
    """Every gate's ruling, in the order in which they are shown."""
    return [gate(evidence, limits) for gate in GATES]


def refusal(rulings: list[Ruling]) -> str:
    """Which gates were not passed and by how much, in one sentence; empty where all were."""
    return "; ".join(f"{one.gate}: {one.said}" for one in rulings if not one.passed)


def significance(evidence: Evidence, limits: Limits) -> Ruling:
    """Better than the champion on the same test items, by the exact two-sided McNemar test (McNemar 1947)."""
    pair, looks = evidence.test, evidence.looks
    seen = {"test_looks": looks.evaluations, "checkpoints_looked_at": looks.checkpoints}
    if pair is None or pair.n == 0:
        return Ruling("significance", False, evidence.uncompared or "no test item was decided for both", seen)
    p = mcnemar(pair.gained, pair.lost)
    figures = {
        "p": p,
        "alpha": limits.alpha,
        "gained": pair.gained,
        "lost": pair.lost,
        "n": pair.n,
        "undecided": pair.undecided,
        **seen,
    }
    counts = f"{pair.gained:,} gained and {pair.lost:,} lost of {pair.n:,} items against {evidence.against}"
    if pair.gained <= pair.lost:
        return Ruling("significance", False, f"no better: {counts}, p = {p:.3g}", figures)
    if p > limits.alpha:
        return Ruling(
            "significance", False, f"p = {p:.3g} is above {limits.alpha:g} by {p - limits.alpha:.3g}: {counts}", figures
        )
    return Ruling("significance", True, f"p = {p:.2g}: {counts}", figures)


def effect(evidence: Evidence, limits: Limits) -> Ruling:
    """By at least so much."""
    pair = evidence.test
    if pair is None or pair.n == 0:
        return Ruling("effect", False, evidence.uncompared or "no test item was decided for both", {})
    figures = {
        "accuracy": pair.accuracy,
        "against": pair.other_accuracy,
        "effect": pair.effect,
        "min_effect": limits.min_effect,
    }
    change = f"{points(pair.effect)} ({pair.other_accuracy:.1%} → {pair.accuracy:.1%})"
    short = limits.min_effect - pair.effect
    if short > 1e-12:
        return Ruling(
            "effect", False, f"{change} is {points(short, sign=False)} short of {points(limits.min_effect)}", figures
        )
    return Ruling("effect", True, change, figures)


def regression(evidence: Evidence, limits: Limits) -> Ruling:
    """No worse on any named set: no drop beyond `max_drop`, and none that is significant."""
    if evidence.uncompared and not evidence.sets:
        return Ruling("regression", False, evidence.uncompared, {})
    figures: dict[str, Any] = {"max_drop": limits.max_drop, "sets": {}}
    worse: list[str] = []
    for name, pair in evidence.sets.items():
        p = mcnemar(pair.gained, pair.lost)
        figures["sets"][name] = {
            "accuracy": pair.accuracy, "against": pair.other_accuracy, "effect": pair.effect, "p": p, "gained": pair.gained,
            "lost": pair.lost, "n": pair.n,
        }  # fmt: skip
        if pair.n == 0:
            worse.append(f"{name}: no item was decided for both")
        elif -pair.effect > limits.max_drop + 1e-12:
            over = points(-pair.effect - limits.max_drop, sign=False)
            worse.append(f"{name}: {points(pair.effect)}, {over} beyond the allowed {points(-limits.max_drop)}")
        elif p <= limits.alpha and pair.lost > pair.gained:
            worse.append(f"{name}: {points(pair.effect)}, significant at p = {p:.2g}")
    if worse:
        return Ruling("regression", False, "; ".join(worse), figures)
    said = ", ".join(f"{name} {points(pair.effect)}" for name, pair in evidence.sets.items())
    return Ruling("regression", True, said or "no set was named", figures)


def contamination(evidence: Evidence, limits: Limits) -> Ruling:
    """None of the training sets behind it meets a problem that it is judged on."""
    del limits
    figures: dict[str, Any] = {"mixes": evidence.mixes, "evaluations": evidence.evaluations, "examples": 0}
    if not evidence.met:
        return Ruling(
            "contamination",
            True,
            f"{evidence.mixes} training sets meet none of {evidence.evaluations} evaluations",
            figures,
        )
    worst = max(evidence.met, key=lambda one: one.examples)
    figures |= {"examples": sum(one.examples for one in evidence.met), "met": [
        {"mix_id": one.mix_id, "evaluation_id": one.evaluation_id, "examples": one.examples, "problems": one.problems, "kind": one.kind}
        for one in evidence.met
    ]}  # fmt: skip
    said = f"{worst.examples:,} examples of mix_{worst.mix_id[:8]} meet {worst.problems:,} evaluated problems ({worst.kind})"
    return Ruling("contamination", False, said, figures)


def verdicts(evidence: Evidence, limits: Limits) -> Ruling:
    """Nothing it was trained on, and nothing it is judged by, stands on a verdict that no longer holds."""
    del limits
    figures = {"examples": evidence.tainted_examples, "items": evidence.tainted_items}
    if evidence.tainted_examples or evidence.tainted_items:
        said = f"{evidence.tainted_examples:,} training examples and {evidence.tainted_items:,} evaluated items stand on overturned verdicts"
        return Ruling("verdicts", False, f"{said} (v_taint, v_evaluation_taint)", figures)
    return Ruling("verdicts", True, "none of those it stands on was overturned", figures)


def digest(evidence: Evidence, limits: Limits) -> Ruling:
    """Its files are what the ledger says they are."""
    del limits
    figures = {"files": evidence.files}
    if evidence.digest_fault is not None:
        return Ruling("digest", False, evidence.digest_fault, figures)
    return Ruling("digest", True, f"{evidence.files} files and weights as recorded", figures)


def answers(evidence: Evidence, limits: Limits) -> Ruling:
    """The registered version loads from MLflow and says what was recorded."""
    del limits
    figures: dict[str, Any] = {"same": evidence.same, "asked": evidence.asked}
    if evidence.unloaded is not None:
        return Ruling("answers", False, f"it does not load from MLflow ({evidence.unloaded})", figures)
    if evidence.asked == 0:
        return Ruling("answers", False, "no greedy answer is recorded to compare with", figures)
    said = f"{evidence.same} of {evidence.asked} recorded greedy answers come out the same from MLflow"
    if evidence.same < evidence.asked:
        figures["first_difference"] = evidence.first_difference
        return Ruling("answers", False, f"{said}; the first that does not: {evidence.first_difference}", figures)
    return Ruling("answers", True, said, figures)


GATES: tuple[Callable[[Evidence, Limits], Ruling], ...] = (
    significance, effect, regression, contamination, verdicts, digest, answers,
)  # fmt: skip
"""All of them, cheap to understand first."""


def points(share: float, *, sign: bool = True) -> str:
    """A difference of shares in percentage points."""
    return f"{100 * share:+.1f} points" if sign else f"{100 * share:.1f} points"
