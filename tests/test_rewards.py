"""What an attempt is worth, and thresholds that are shares."""

from dataclasses import replace

import pytest

from storage.errors import UserMistake
from storage.home import Home
from storage.identity import digest
from storage.records import Problem, Verdict
from storage.shards import Shards
from tasks.rewards import Judged, Threshold, absolute, reward_of, scores_of
from tests.storage.small_loop import attempt, problem


def verdict(of: str, passed: bool | None, score: float | None = None, aspect: str = "") -> Verdict:
    return Verdict.of(of, "v", digest("v"), passed, score=score, aspect=aspect)


def test_a_score_is_the_verifiers_or_one_and_zero_where_it_gives_none():
    a, b, c = digest("a"), digest("b"), digest("c")
    found = scores_of([verdict(a, True), verdict(b, False), verdict(c, False, 0.75)])
    assert found == {a: 1.0, b: 0.0, c: 0.75}


def test_several_aspects_are_averaged_and_an_undecided_one_leaves_no_score():
    a, b = digest("a"), digest("b")
    rows = [
        verdict(a, True, aspect="x"),
        verdict(a, False, 0.5, "y"),
        verdict(b, True, aspect="x"),
        verdict(b, None, aspect="y"),
    ]
    assert scores_of(rows) == {a: 0.75, b: None}


def test_likelihood_is_the_mean_a_token_and_unknown_where_nobody_told():
    _, row = attempt(problem(1), "2", digest("checkpoint"))
    assert reward_of("likelihood", replace(row, logprob=-3.0, tokens=2), {}) == -1.5
    assert reward_of("likelihood", replace(row, logprob=None), {}) is None


class Means:
    """What `absolute` looks at."""

    def __init__(self, home: Home) -> None:
        self.shards = Shards(home)


@pytest.fixture
def judged(tmp_path):
    means = Means(Home.open(tmp_path))
    rows = [attempt(problem(n), str(n), digest("checkpoint"))[1] for n in range(1, 11)]
    verdicts = [verdict(row.attempt_id, True, n / 10) for n, row in enumerate(rows)]
    problems: list[Problem] = [problem(n) for n in range(1, 11)]
    write = means.shards.write
    return means, Judged("sampled", write("problem", problems), write("attempt", rows), write("verdict", verdicts))


@pytest.mark.parametrize(("share", "left"), [(0.0, 10), (0.5, 5), (0.9, 1)])
def test_above_a_quantile_lies_the_rest_of_the_attempts(judged, share, left):
    means, cell = judged
    found = absolute(Threshold("verifier", share, "quantile"), [cell], means)
    assert sum(n / 10 > found.above for n in range(10)) == left
    assert found.kind == "absolute"


def test_rewards_that_nobody_gave_are_said(judged):
    means, cell = judged
    with pytest.raises(UserMistake, match="no attempt has a likelihood reward"):
        absolute(Threshold("likelihood", 0.5, "quantile"), [cell], means)
