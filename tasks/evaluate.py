"""Evaluate: a checkpoint scored on a split, item by item, from attempts and verdicts that are ordinary cells."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from storage.identity import content_id
from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Evaluation, EvaluationItem, Problem, Verdict
from storage.significance import Interval, wilson
from tasks.caching import cached_task
from tasks.runtime import Runtime
from tasks.verify import outcomes


@dataclass(frozen=True, slots=True)
class Score:
    """Weighted accuracy over decided items; None when nothing was decided."""

    n: int
    passed: int
    undecided: int
    accuracy: float | None
    interval: Interval | None


@cached_task("score")
def score(
    problems: Manifest, attempts: Manifest, verdicts: Manifest, checkpoint_id: str, split: str, runtime: Runtime
) -> Output:
    """Accuracy with its Wilson 95 % interval, in all and per stratum; undecided items are counted and stay out of it."""
    rows = runtime.shards.read(problems, Problem)
    attempt_of = {attempt.problem_id: attempt for attempt in runtime.shards.read(attempts, Attempt)}
    judged = runtime.shards.read(verdicts, Verdict)
    outcome = outcomes(judged)
    marks = [Mark(problem, *outcome[attempt_of[problem.problem_id].attempt_id]) for problem in rows]
    total = tally(marks)
    strata: dict[str, list[Mark]] = defaultdict(list)
    for mark in marks:
        strata[mark.problem.stratum].append(mark)
    first, verdict = attempt_of[rows[0].problem_id], judged[0]
    items = [
        (mark.problem.problem_id, attempt_of[mark.problem.problem_id].attempt_id, mark.verdict_id) for mark in marks
    ]
    evaluation_id = content_id("evaluation", checkpoint=checkpoint_id, items=items)
    evaluation = Evaluation(
        evaluation_id,
        checkpoint_id,
        rows[0].source,
        split,
        first.engine,
        first.sampling,
        verdict.verifier,
        verdict.verifier_digest,
        total.n,
        total.passed,
        total.undecided,
        total.accuracy,
        total.interval and total.interval.low,
        total.interval and total.interval.high,
    )
    return Output(
        {
            "evaluation": runtime.shards.write("evaluation", [evaluation]),
            "items": runtime.shards.write("evaluation_item", [EvaluationItem(evaluation_id, *item) for item in items]),
        },
        Accounting(
            len(rows), ok=total.passed, rejected=total.n - total.passed - total.undecided, undecided=total.undecided
        ),
        {
            "evaluation_id": evaluation_id,
            "split": split,
            "n": total.n,
            "passed": total.passed,
            "undecided": total.undecided,
            "accuracy": total.accuracy,
            "ci_low": total.interval and total.interval.low,
            "ci_high": total.interval and total.interval.high,
            "strata": {name: tally(group).accuracy for name, group in sorted(strata.items())},
            **mean_score(judged),
        },
    )


@dataclass(frozen=True, slots=True)
class Mark:
    """One problem's outcome."""

    problem: Problem
    passed: bool | None
    verdict_id: str


def mean_score(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """The mean of the scores, where the verifier gives every decided text one: partial credit, or how near it is to a reference."""
    scores = [verdict.score for verdict in verdicts if verdict.passed is not None]
    given = [score for score in scores if score is not None]
    return {"mean_score": sum(given) / len(given)} if given and len(given) == len(scores) else {}


def tally(marks: list[Mark]) -> Score:
    """The weighted share of right ones among the decided, with the interval at the effective sample size."""
    decided = [mark for mark in marks if mark.passed is not None]
    weights = [mark.problem.weight for mark in decided]
    passed = sum(mark.passed is True for mark in decided)
    if not sum(weights):
        return Score(len(marks), passed, len(marks) - len(decided), None, None)
    accuracy = sum(mark.problem.weight for mark in decided if mark.passed) / sum(weights)
    effective = sum(weights) ** 2 / sum(weight**2 for weight in weights)
    return Score(len(marks), passed, len(marks) - len(decided), accuracy, wilson(accuracy, effective))
