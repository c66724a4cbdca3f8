"""Methods beside each other: mean accuracies over seeds with intervals, and exact paired tests, from the ledger's evaluation items.

    standing([{"p": True, "q": False}, {"p": True, "q": True}], {"p": 1.0, "q": 1.0})   →  Standing(accuracy=0.75, …)

Every method answers the same held-out problems with each seed, so a problem is the unit of everything here: of an interval, the
mean over seeds of a problem is one observation; in a test, a problem counts for the side on which more seeds solved it.
What another draw of seeds would give is not in an interval; the seeds are shown one by one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from storage.lineage import Lineage
from storage.significance import mcnemar, wilson

Marks = Mapping[str, bool]
"""Problem id to whether it was answered right; undecided ones are left out."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A mean accuracy over seeds, with its 95 % interval and each seed's own; `n` problems were decided with every seed."""

    accuracy: float
    low: float
    high: float
    n: int
    seeds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sides on the same problems: on how many the first was right with more seeds, on how many the other, and the exact
    two-sided McNemar p; `by_seed` the p of each seed alone.
    """

    first: str
    other: str
    gained: int
    lost: int
    p_value: float
    by_seed: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def standing(by_seed: Sequence[Marks], weights: Mapping[str, float]) -> Standing | None:
    """The weighted mean over the problems that were decided with every seed; None where there are none.

    The interval is Wilson's at the effective number of problems, a (1 - a) / s², with s the standard error of the mean over problems of
    their means over seeds; where all problems have one mean, at (Σw)² / Σw².
    """
    shared = _shared(by_seed)
    if not shared:
        return None
    total = sum(weights[one] for one in shared)
    means = {one: sum(marks[one] for marks in by_seed) / len(by_seed) for one in shared}
    accuracy = sum(weights[one] * mean for one, mean in means.items()) / total
    squares = sum((weights[one] * (mean - accuracy)) ** 2 for one, mean in means.items()) / total**2
    kish = total**2 / sum(weights[one] ** 2 for one in shared)
    spread = accuracy * (1 - accuracy)
    interval = wilson(accuracy, spread / squares if squares and spread else kish)
    seeds = tuple(sum(weights[one] * marks[one] for one in shared) / total for marks in by_seed)
    return Standing(accuracy, interval.low, interval.high, len(shared), seeds)


def pair(first: str, other: str, ones: Sequence[Marks], others: Sequence[Marks]) -> Pair | None:
    """The exact McNemar test with a problem as the unit: it counts for the side that solved it with more seeds (a sign test, and with one
    seed McNemar's own). None where no problem was decided on both sides.
    """
    shared = sorted(_shared([*ones, *others]))
    if not shared:
        return None
    share = [
        sum(marks[one] for marks in ones) * len(others) - sum(marks[one] for marks in others) * len(ones)
        for one in shared
    ]
    gained, lost = sum(one > 0 for one in share), sum(one < 0 for one in share)
    by_seed = tuple(_alone(mine, its) for mine, its in zip(ones, _repeated(others, len(ones)), strict=True))
    return Pair(first, other, gained, lost, mcnemar(gained, lost), by_seed)


def marks_of(lineage: Lineage, evaluation_id: str) -> tuple[dict[str, bool], dict[str, float]]:
    """What an evaluation decided, problem by problem, and the problems' weights."""
    found = lineage.rows(
        "select problem_id::varchar, passed, weight from v_evaluation_item where evaluation_id = ? and passed is not null",
        [evaluation_id],
    )
    return {one: passed for one, passed, _ in found}, {one: weight for one, _, weight in found}


def _alone(mine: Marks, its: Marks) -> float:
    shared = mine.keys() & its.keys()
    return mcnemar(sum(mine[one] and not its[one] for one in shared), sum(its[one] and not mine[one] for one in shared))


def _repeated(marks: Sequence[Marks], times: int) -> Sequence[Marks]:
    """One set of marks stands for all seeds: a base is answered once."""
    return marks if len(marks) == times else [marks[0]] * times


def _shared(by_seed: Sequence[Marks]) -> set[str]:
    """The problems that are in all of them."""
    return set.intersection(*(set(marks) for marks in by_seed)) if by_seed else set()
