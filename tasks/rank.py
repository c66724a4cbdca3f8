"""Rank: several answers to a problem ordered by a verifier that was trained on right against wrong ones.

V-STaR (Hosseini et al. 2024, arXiv 2402.06457, section 3): the verifier is a language model trained with DPO on right against
wrong answers, and an answer's score is its likelihood under that model given the problem: `likelihood`, the sum over its tokens.
`ratio` is DPO's own implicit reward, the same less the likelihood under the weights that the verifier's training started from.
Every score is a verdict of its own (`aspect` rank, undecided, with the score), beside the one of the problem set's verifier.

What picking by it is worth is told beside what else the same answers give: the mean share that is right (pass@1), the answer
that most of them give (majority), and whether any is right (pass@k).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from storage.identity import digest
from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Prompt, Verdict
from storage.significance import wilson
from tasks.caching import cached_task
from tasks.code_digest import code_of
from tasks.engines.protocol import FAILED
from tasks.ingredients import engine_code
from tasks.likelihood import scored_by
from tasks.runtime import Runtime
from tasks.verify import outcomes

BATCH_ROWS = 500
ASPECT = "rank"
WAYS = ("pass_at_1", "majority", "best", "pass_at_k")
"""Ways of picking one of several answers: one at random, the most common, the one that ranks first, and whichever is right."""


@dataclass(frozen=True, slots=True)
class Ranker:
    """A checkpoint that scores texts, and where it is measured against one, its reference."""

    checkpoint_id: str
    weights_digest: str
    reference_id: str | None = None
    reference_digest: str | None = None

    @property
    def name(self) -> str:
        """As the verifier of a verdict."""
        kind = "likelihood" if self.reference_id is None else "ratio"
        return f"rank:{kind},checkpoint={self.checkpoint_id}"


@cached_task("rank", engine=engine_code)
def rank(attempts: Manifest, prompts: Manifest, ranker: Ranker, engine: str, runtime: Runtime) -> Output:
    """A score for every attempt of a cell that has a text, higher is better."""
    text_of = {prompt.prompt_id: prompt.text for prompt in runtime.shards.iterate(prompts, Prompt)}
    rows = [one for one in runtime.shards.iterate(attempts, Attempt) if one.finish_reason != FAILED]
    texts = [(text_of[one.prompt_id], one.text) for one in rows]
    scores = [one.logprob for one in scored_by(texts, engine, ranker.checkpoint_id, ranker.weights_digest, runtime)]
    if ranker.reference_id is not None:
        before = scored_by(texts, engine, ranker.reference_id, str(ranker.reference_digest), runtime)
        scores = [score - one.logprob for score, one in zip(scores, before, strict=True)]
    code = digest(code_of(__name__).as_json())
    verdicts = [
        Verdict.of(one.attempt_id, ranker.name, code, None, aspect=ASPECT, score=score, reason="a score, no judgement")
        for one, score in zip(rows, scores, strict=True)
    ]
    return Output(
        {"verdicts": runtime.shards.write("verdict", verdicts)},
        Accounting(attempts.rows, ok=len(rows), failed=attempts.rows - len(rows)),
    )


@cached_task("pick")
def pick(attempts: Manifest, verdicts: Manifest, scores: Manifest, runtime: Runtime) -> Output:
    """What the answers are worth by each way of picking one, with Wilson 95 % intervals."""
    score_of = {one.attempt_id: one.score for one in runtime.shards.iterate(scores, Verdict)}
    judged = runtime.shards.read(verdicts, Verdict)
    outcome = outcomes(judged)
    answer_of = {one.attempt_id: one.answer for one in judged if one.answer is not None}
    answers: dict[str, list[Candidate]] = {}
    undecided = 0
    for attempt in runtime.shards.iterate(attempts, Attempt):
        right, score = outcome[attempt.attempt_id][0], score_of.get(attempt.attempt_id)
        if right is None or score is None:
            undecided += 1
            continue
        one = Candidate(answer_of.get(attempt.attempt_id) or attempt.text, right, score)
        answers.setdefault(attempt.problem_id, []).append(one)
    worth = worth_of(list(answers.values()))
    facts: dict[str, object] = {
        name: {"accuracy": value, **dict(zip(("ci_low", "ci_high"), _interval(value, len(answers)), strict=True))}
        for name, value in asdict(worth).items()
        if name in WAYS
    }
    return Output(
        {},
        Accounting(attempts.rows, ok=attempts.rows - undecided, undecided=undecided),
        {**facts, "problems": len(answers), "pairs_in_order": worth.pairs_in_order},
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """One decided answer to a problem, as the verifier read it, with its score."""

    answer: str
    right: bool
    score: float


@dataclass(frozen=True, slots=True)
class Worth:
    """Shares of problems answered rightly by each way of picking; of right-wrong pairs, how many the scores order rightly."""

    pass_at_1: float
    majority: float
    best: float
    pass_at_k: float
    pairs_in_order: float | None


def worth_of(problems: Sequence[Sequence[Candidate]]) -> Worth:
    """What picking is worth over the answers to each problem; a majority without a winner goes to the one that came first."""
    if not problems:
        return Worth(0.0, 0.0, 0.0, 0.0, None)
    ordered = [
        (good.score > bad.score) + 0.5 * (good.score == bad.score)
        for ones in problems
        for good in ones
        if good.right
        for bad in ones
        if not bad.right
    ]
    return Worth(
        _mean(sum(one.right for one in ones) / len(ones) for ones in problems),
        _mean(majority_of(ones).right for ones in problems),
        _mean(max(ones, key=lambda one: one.score).right for ones in problems),
        _mean(any(one.right for one in ones) for ones in problems),
        _mean(ordered) if ordered else None,
    )


def majority_of(ones: Sequence[Candidate]) -> Candidate:
    """The first candidate with the most common answer."""
    answer = Counter(one.answer.strip() for one in ones).most_common(1)[0][0]
    return next(one for one in ones if one.answer.strip() == answer)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _interval(share: float, count: int) -> tuple[float | None, float | None]:
    interval = wilson(share, count) if count else None
    return (interval.low, interval.high) if interval else (None, None)
