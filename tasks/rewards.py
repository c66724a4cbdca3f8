"""What an attempt is worth, where more is asked than whether it passed, and from which worth on it is kept."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from storage.errors import UserMistake
from storage.manifest import Manifest
from storage.records import Attempt, Verdict
from tasks.engines.protocol import FAILED
from tasks.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Judged:
    """The attempts of a cell with their verdicts, of one origin, and the problems they answer.

    With `prompts` an attempt is trained on under the prompt that it answered; without, under its problem's direct one. `bare`:
    those prompts are not inside the model's chat yet.
    """

    origin: str
    problems: Manifest
    attempts: Manifest
    verdicts: Manifest
    prompts: Manifest | None = None
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Threshold:
    """What has a reward above `above` is kept (ReST), whatever its verdict.

    `reward`: verifier (its score, or 1 for passed and 0 for failed where it gives none; undecided ones stay out) or likelihood (mean
    log-likelihood a token, in nats, under the model that wrote it). `kind` quantile: above the reward below which that share of the
    attempts lies.
    """

    reward: str
    above: float
    kind: str = "absolute"


def scores_of(verdicts: Iterable[Verdict]) -> dict[str, float | None]:
    """Attempt id to the mean over its aspects of the verifier's score, or of 1 and 0 where it gave none; None with one undecided."""
    by_attempt: dict[str, list[float | None]] = {}
    for verdict in verdicts:
        own = verdict.score if verdict.passed is None or verdict.score is not None else float(verdict.passed)
        by_attempt.setdefault(verdict.attempt_id, []).append(None if verdict.passed is None else own)
    found: dict[str, float | None] = {}
    for attempt_id, scores in by_attempt.items():
        known = [score for score in scores if score is not None]
        found[attempt_id] = sum(known) / len(known) if len(known) == len(scores) else None
    return found


def reward_of(reward: str, attempt: Attempt, scores: Mapping[str, float | None]) -> float | None:
    """The attempt's worth; None where nobody could say."""
    if reward == "likelihood":
        return None if attempt.logprob is None or not attempt.tokens else attempt.logprob / attempt.tokens
    return scores.get(attempt.attempt_id)


def absolute(threshold: Threshold, judged: Sequence[Judged], runtime: Runtime) -> Threshold:
    """The threshold as a reward; raises UserMistake where no attempt has one."""
    if threshold.kind == "absolute":
        return threshold
    found = [one for cell in judged for one in _rewards(threshold.reward, cell, runtime)]
    if not found:
        raise UserMistake(
            f"no attempt has a {threshold.reward} reward, so no share of them lies below a threshold; "
            "reward = verifier needs verdicts, reward = likelihood an engine that tells log probabilities"
        )
    above = (
        np.quantile(found, threshold.above, method="lower") if threshold.above else np.nextafter(min(found), -np.inf)
    )
    return replace(threshold, above=float(above), kind="absolute")


def _rewards(reward: str, cell: Judged, runtime: Runtime) -> Iterator[float]:
    scores = scores_of(runtime.shards.iterate(cell.verdicts, Verdict)) if reward == "verifier" else {}
    for attempt in runtime.shards.iterate(cell.attempts, Attempt):
        if attempt.finish_reason != FAILED and (worth := reward_of(reward, attempt, scores)) is not None:
            yield worth
