"""Balance scores by hand, and the temperature that they choose."""

import pytest

from storage.manifest import Accounting
from tasks.balance import Answer, Probe, Tried, balance, balance_score, chosen


def answers(*texts: str, problem: str = "p", right: str = "+") -> list[Answer]:
    return [Answer(problem, text, text.startswith(right), 1.0 if text.startswith(right) else 0.0) for text in texts]


@pytest.mark.parametrize(
    ("given", "wanted", "score"),
    [
        (answers("+a", "+b", "-c", "-d"), 2, 1 * 2 / 4),
        (answers("+a", "+b", "-c", "-d"), 8, 2 / 8 * 2 / 4),
        (answers("+a", "+a", "+a", "+a"), 1, 1 / 4),  # the same text over and over is one answer
        (answers("+a", "+b", "+c", "+d"), 2, 1.0),
        (answers("-a"), 1, 0.0),
        ([], 1, 0.0),
    ],
)
def test_a_problem_scores_enough_different_right_answers_times_their_share(given, wanted, score):
    assert balance_score(given, 1, None, wanted) == pytest.approx(score)


def test_a_problem_of_which_nothing_is_selected_counts_with_zero():
    both = answers("+a", "+b") + answers("-c", problem="q")
    assert balance_score(both, 2, None, 2) == pytest.approx(0.5)
    assert balance_score(both, 2, 0.5, 2) == pytest.approx(0.5)


def test_a_threshold_leaves_out_what_is_worth_less():
    given = [Answer("p", "a", True, 0.9), Answer("p", "b", True, 0.4), Answer("p", "c", False, 0.5)]
    assert balance_score(given, 1, 0.6, 1) == 1.0
    assert balance_score(given, 1, 0.45, 1) == pytest.approx(1 / 2)
    assert balance_score(given, 1, 0.0, 2) == pytest.approx(2 / 3)
    assert balance_score(given, 1, 1.0, 1) == 0.0


def test_the_highest_score_wins_and_of_equals_the_coolest():
    assert chosen([Tried(0.5, None, 0.2), Tried(0.9, None, 0.3), Tried(1.1, None, 0.3)]).temperature == 0.9
    assert chosen([Tried(0.5, 0.8, 0.3), Tried(0.5, 0.2, 0.3)]).threshold == 0.2


def test_the_temperature_with_more_different_right_answers_is_taken(runtime, problems, answer):
    """Cool, the script solves one problem in one way; warm, in two ways, and is wrong at times; hot, nothing is right."""
    said = {0.5: ["2"], 0.9: ["2", "The answer is 2.", "3"], 1.3: ["7", "9"]}
    probes = []
    for temperature, texts in said.items():
        judged = answer(problems, {"1+1": texts, "*": "7"}, samples=16, verifier="numeric")
        probes.append(Probe(temperature, judged.attempts, judged.verdicts))
    output = balance.function(tuple(probes), (), 2, runtime)
    scores = [one["score"] for one in output.facts["tried"]]
    assert scores == pytest.approx([(0.5 * 1 / 16) / 5, (2 / 16) / 5, 0.0])
    assert (output.facts["temperature"], output.facts["threshold"]) == (0.9, None)
    assert output.accounting == Accounting(asked=240, ok=240)


def test_thresholds_are_tried_with_every_temperature(runtime, problems, answer):
    judged = answer(problems, {"1+1": ["2", "3"], "*": "7"}, samples=8)
    probe = Probe(0.7, judged.attempts, judged.verdicts)
    output = balance.function((probe,), (0.0, 0.5), 1, runtime)
    assert [(one["temperature"], one["threshold"]) for one in output.facts["tried"]] == [(0.7, 0.0), (0.7, 0.5)]
    assert len({one["score"] for one in output.facts["tried"]}) == 1  # wrong answers are worth 0, which neither selects
    assert output.facts["threshold"] == 0.0
