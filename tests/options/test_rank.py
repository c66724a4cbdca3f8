"""What picking among several answers is worth, by hand, and from stored rows."""

import pytest

from storage.records import Attempt, Verdict
from tasks.rank import Candidate, Ranker, majority_of, pick, worth_of


def candidates(*said: tuple[str, bool, float]) -> list[Candidate]:
    return [Candidate(*one) for one in said]


ONE = candidates(("7", False, -3.0), ("7", False, -2.0), ("8", True, -1.0))
TWO = candidates(("5", True, -9.0), ("5 ", True, -1.0), ("6", False, -4.0))


def test_each_way_of_picking_has_its_worth():
    worth = worth_of([ONE, TWO])
    assert worth.pass_at_1 == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert (worth.majority, worth.best, worth.pass_at_k) == (0.5, 1.0, 1.0)
    # of the right-wrong pairs, both of the first problem and one of two of the second are ordered rightly
    assert worth.pairs_in_order == pytest.approx(3 / 4)


def test_equal_scores_order_half_a_pair_and_no_pair_orders_nothing():
    assert worth_of([candidates(("1", True, 0.0), ("2", False, 0.0))]).pairs_in_order == 0.5
    assert worth_of([candidates(("1", True, 0.0), ("1", True, 1.0))]).pairs_in_order is None
    assert worth_of([]).best == 0.0


def test_the_first_of_equally_common_answers_is_the_majority():
    assert majority_of(candidates(("2", False, 0.0), ("1", True, 9.0))).answer == "2"
    assert majority_of(TWO).right


def test_only_decided_answers_with_a_score_are_picked_among(runtime, problems, answer):
    judged = answer(problems, {"1+1": ["2", "3"], "2+2": "4", "*": "7"}, samples=8)
    attempts = runtime.shards.read(judged.attempts, Attempt)
    # the ranker prefers what is wrong, and has no score for one problem
    scores = [
        Verdict.of(one.attempt_id, "rank:likelihood", "f" * 32, None, aspect="rank", score=float(one.text == "3"))
        for one in attempts
        if one.text != "4"
    ]
    output = pick.function(judged.attempts, judged.verdicts, runtime.shards.write("verdict", scores), runtime)
    assert output.facts["problems"] == 4
    assert output.facts["best"]["accuracy"] == 0.0
    assert output.facts["pass_at_k"]["accuracy"] == 0.25
    assert output.facts["pairs_in_order"] == 0.0
    low, high = (output.facts["pass_at_k"][name] for name in ("ci_low", "ci_high"))
    assert 0 < low < 0.25 < high < 1
    assert (output.accounting.ok, output.accounting.undecided) == (32, 8)


def test_a_ranker_says_what_it_measures_against():
    assert Ranker("c" * 32, "d" * 32).name == f"rank:likelihood,checkpoint={'c' * 32}"
    assert Ranker("c" * 32, "d" * 32, "b" * 32, "e" * 32).name.startswith("rank:ratio,")
