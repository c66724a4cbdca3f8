"""Agreement: how many samples met each constraint, and how far the model's own check of it goes with the program's.

{"max_words": {"level": 1, "judged": 400, "met": 312, "undecided": 0, "checked": 388, "unread": 12, "agreed": 291, "said_met": 350}}
"""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Problem, Verdict
from tasks.caching import cached_task
from tasks.rewards import Judged
from tasks.runtime import Runtime
from tasks.self_check import MEETS
from tasks.verifiers.constraint_levels import level_of


@dataclass(frozen=True, slots=True)
class Checked:
    """The questions of a cell about its constraints, the model's replies, and the verdicts on these."""

    problems: Manifest
    attempts: Manifest
    verdicts: Manifest


@cached_task("agreement")
def agreement(judged: tuple[Judged, ...], checked: tuple[Checked, ...], runtime: Runtime) -> Output:
    """Counts by constraint over an iteration's samples; of the replies, those that say neither yes nor no are `unread`.

    Accounts for the verdicts on samples, not for the replies.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for cell in judged:
        for verdict in runtime.shards.iterate(cell.verdicts, Verdict):
            outcome = {True: "met", False: "missed", None: "undecided"}[verdict.passed]
            counts[verdict.aspect].update((outcome, "judged"))
    for cell in checked:
        aspect_of = {one.problem_id: one for one in runtime.shards.iterate(cell.problems, Problem)}
        question_of = {
            one.attempt_id: aspect_of[one.problem_id] for one in runtime.shards.iterate(cell.attempts, Attempt)
        }
        for verdict in runtime.shards.iterate(cell.verdicts, Verdict):
            question = question_of[verdict.attempt_id]
            _count(counts[json.loads(question.info)["aspect"]], question, verdict)
    total = sum(counts.values(), start=Counter[str]())
    names = ("judged", "met", "undecided", *(("checked", "unread", "agreed", "said_met", "held") if checked else ()))
    return Output(
        {},
        Accounting(total["judged"], total["met"], total["missed"], total["undecided"]),
        {
            "constraints": {
                aspect: {"level": level_of(aspect), **{name: count[name] for name in names}}
                for aspect, count in sorted(counts.items(), key=lambda one: (level_of(one[0]), one[0]))
            }
        },
    )


def _count(counts: Counter[str], question: Problem, verdict: Verdict) -> None:
    """Takes in the verdict on one reply: whether it says what the program says."""
    if verdict.answer is None or verdict.passed is None:
        counts["unread"] += 1
        return
    counts.update(("checked",))
    counts["agreed"] += verdict.passed
    counts["said_met"] += verdict.answer == MEETS
    counts["held"] += question.gold == MEETS


def share_agreed(constraints: Sequence[dict[str, int]]) -> float | None:
    """The share of read replies that say what the program says, over constraints; None where none was read."""
    checked = sum(one.get("checked", 0) for one in constraints)
    return sum(one["agreed"] for one in constraints if "agreed" in one) / checked if checked else None
