"""Balance: the sampling temperature, and from which reward on an answer counts, that suit the model as it is now.

B-STaR (Zeng et al. 2024, arXiv 2412.17256, section 3): the score of a problem is min(n' / wanted, 1) · (n' / n), with n' its
different right answers among those that are selected and n all that are selected; what makes the mean over a few problems largest is
taken for the whole iteration. The first factor asks for enough to learn from, the second for little that is not.

Selected is what has a reward above the threshold; without thresholds, every attempt that was decided. A problem of which nothing is
selected scores 0. Of equal scores the lower temperature wins, then the lower threshold.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Verdict
from tasks.caching import cached_task
from tasks.rewards import scores_of
from tasks.runtime import Runtime
from tasks.verify import outcomes


@dataclass(frozen=True, slots=True)
class Probe:
    """The attempts at the probed problems at one temperature."""

    temperature: float
    attempts: Manifest
    verdicts: Manifest


@dataclass(frozen=True, slots=True)
class Tried:
    """One setting and what it scored. `threshold` None: everything was selected."""

    temperature: float
    threshold: float | None
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A decided attempt: what it says, whether it is right, and what it is worth."""

    problem_id: str
    text: str
    right: bool
    reward: float


@cached_task("balance")
def balance(probes: tuple[Probe, ...], thresholds: tuple[float, ...], wanted: int, runtime: Runtime) -> Output:
    """The best of every temperature with every threshold, and what all of them scored."""
    tried: list[Tried] = []
    asked = 0
    for probe in probes:
        asked += probe.attempts.rows
        attempts = runtime.shards.read(probe.attempts, Attempt)
        answers = list(_decided(attempts, runtime.shards.read(probe.verdicts, Verdict)))
        problems = len({attempt.problem_id for attempt in attempts})
        tried += [
            Tried(probe.temperature, threshold, balance_score(answers, problems, threshold, wanted))
            for threshold in (thresholds or (None,))
        ]
    best = chosen(tried)
    return Output({}, Accounting(asked, ok=asked), {**asdict(best), "tried": [asdict(one) for one in tried]})


def chosen(tried: Sequence[Tried]) -> Tried:
    """The one with the highest score."""
    return max(tried, key=lambda one: (one.score, -one.temperature, -(one.threshold or 0.0)))


def balance_score(answers: Sequence[Answer], problems: int, threshold: float | None, wanted: int) -> float:
    """The mean over so many problems of min(n' / wanted, 1) · n' / n."""
    selected: dict[str, list[Answer]] = {}
    for answer in answers:
        if threshold is None or answer.reward > threshold:
            selected.setdefault(answer.problem_id, []).append(answer)
    scores = []
    for ones in selected.values():
        different = len({answer.text.strip() for answer in ones if answer.right})
        scores.append(min(different / wanted, 1.0) * different / len(ones))
    return sum(scores) / problems if problems else 0.0


def _decided(attempts: Sequence[Attempt], verdicts: Sequence[Verdict]) -> Iterable[Answer]:
    outcome, rewards = outcomes(verdicts), scores_of(verdicts)
    for attempt in attempts:
        passed, reward = outcome[attempt.attempt_id][0], rewards[attempt.attempt_id]
        if passed is not None and reward is not None:
            yield Answer(attempt.problem_id, attempt.text, passed, reward)
