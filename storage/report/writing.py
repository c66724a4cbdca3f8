"""What a model wrote for itself to learn from, where a method lets it: round by round, what was refused and why, and how varied the rest is.

Such data has no gold answers, so whatever is shown of it says that nobody checked it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage.report.arms import Arm

ROUND_COLUMNS = ["round", "instructions read", "new", "nearest ROUGE-L", "verbs", "objects", "classifications", "instances read",
                 "admitted"]  # fmt: skip
REFUSED_COLUMNS = ["refused because", "instructions", "instances"]


@dataclass(frozen=True, slots=True)
class Writing:
    """`unchecked` is the word that goes with all of it; the rest is tables."""

    unchecked: str
    sentence: str
    rounds: list[list[str]]
    refused: list[list[str]]


def unchecked(arm: Arm) -> str:
    """What a method says of the correctness of its data; empty for one that checks it."""
    return next((str(said) for one in arm.iterations if (said := one.figures.get("correctness"))), "")


def writing(arm: Arm) -> Writing | None:
    """None for a run whose method writes no tasks."""
    rounds = [one for iteration in arm.iterations for one in _rounds(iteration.figures)]
    if not rounds:
        return None
    read, new, tried, kept = (
        sum(one[name] for one in rounds) for name in ("written", "admitted", "instances", "instances_admitted")
    )
    of_instructions = sum((Counter(one["refused"]) for one in rounds), Counter[str]())
    of_instances = sum((Counter(one["instances_refused"]) for one in rounds), Counter[str]())
    names = sorted(
        of_instructions.keys() | of_instances.keys(), key=lambda name: -of_instructions[name] - of_instances[name]
    )
    return Writing(
        unchecked(arm),
        f"{new:,} of {read:,} instructions that were read were new and fit, and {kept:,} of {tried:,} instances were admitted.",
        [
            [
                f"{one['round']:,}", f"{one['written']:,}", f"{one['admitted']:,}",
                "—" if one["mean_nearest"] is None else f"{one['mean_nearest']:.2f}", f"{one['verbs']:,}", f"{one['nouns']:,}",
                f"{one['classifications']:,}", f"{one['instances']:,}", f"{one['instances_admitted']:,}",
            ]
            for one in rounds
        ],
        [[name, f"{of_instructions[name]:,}", f"{of_instances[name]:,}"] for name in names],
    )  # fmt: skip


def _rounds(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [one for one in figures.get("rounds") or [] if "instances_admitted" in one]
