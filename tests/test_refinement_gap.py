"""What a refinement is worth, on ballots made by hand: who wins a vote, what tokens buy, and what is counted against what."""

from collections.abc import Sequence

import pytest

from storage.records import Problem
from tasks.refinement_gap import Ballot, Trial, any_right, likeliest, majority, purchases, weigh


def problem(name: str, weight: float = 1.0) -> Problem:
    return Problem.of("case", "dev", name, "1", weight=weight)


def vote(answer: str, right: bool | None, of: Problem | None = None, **more) -> Ballot:
    return Ballot((of or problem("x")).problem_id, answer, right, **more)


RIGHT, WRONG, OTHER, OPEN, NONE = (
    vote("1", True), vote("2", False), vote("3", False), vote("?", None), vote("", None)
)  # fmt: skip


@pytest.mark.parametrize(
    ("ballots", "wins"),
    [
        ([RIGHT, WRONG, WRONG], False),
        ([WRONG, RIGHT, RIGHT], True),
        ([RIGHT, WRONG], True),
        ([WRONG, RIGHT], False),
        ([WRONG, OTHER, RIGHT, RIGHT], True),
        ([NONE, NONE, RIGHT], True),
        ([NONE, NONE], None),
        ([OPEN, OPEN, RIGHT], None),
        ([], None),
    ],
)
def test_the_most_frequent_answer_wins_and_the_earlier_of_equals(ballots: Sequence[Ballot], wins):
    assert majority(ballots) is wins


def test_an_answer_that_nobody_stated_does_not_vote():
    assert majority([vote("", False), vote("", False), RIGHT]) is True
    assert majority([vote("", False), vote("", False)]) is False


def test_best_of_n_is_the_likeliest_a_token_and_the_first_of_equals():
    unlikely, likely = vote("1", True, likelihood=-0.5), vote("2", False, likelihood=-0.1)
    assert likeliest([unlikely, likely]) is False
    assert likeliest([likely, unlikely]) is False
    assert likeliest([vote("1", True, likelihood=-0.1), likely]) is True
    assert likeliest([RIGHT, unlikely]) is True
    assert likeliest([RIGHT, WRONG]) is None


def test_any_is_open_where_only_an_undecided_one_could_be_right():
    assert any_right([WRONG, OPEN]) is None
    assert any_right([WRONG, OPEN, RIGHT]) is True
    assert any_right([WRONG, OTHER]) is False


def trial(name: str, refinement: int, extra: Sequence[int], critique: int = 0) -> Trial:
    one = problem(name)
    cost = vote("1", True, one, prompt_tokens=refinement - 1, tokens=1)
    critiques = [vote("", None, one, tokens=critique)] if critique else []
    return Trial(one, extra=[vote("1", True, one, tokens=size) for size in extra], refined=cost, critiques=critiques)


def test_extra_samples_cost_no_more_than_the_refinements_before_them():
    trials = [trial("a", 7, [4, 4]), trial("b", 7, [4, 4]), trial("c", 7, [4, 4], critique=3)]
    bought = purchases(trials)
    assert [len(bought[one.problem.problem_id]) for one in trials] == [1, 2, 2]
    spent = sum(one.spent for some in bought.values() for one in some)
    assert spent == 20
    assert 7 * 3 + 3 - spent == 4


def test_nothing_is_bought_before_it_can_be_paid():
    assert [len(some) for some in purchases([trial("a", 3, [4]), trial("b", 3, [4])]).values()] == [0, 1]


@pytest.fixture
def weighed():
    """Four problems: a refinement that mends a wrong vote, one that spoils a right one, one that no candidate solved, one all right."""
    names = {name: problem(name) for name in ("mended", "spoilt", "hopeless", "easy")}
    candidates = {
        "mended": [WRONG, WRONG, RIGHT],
        "spoilt": [RIGHT, RIGHT, WRONG],
        "hopeless": [WRONG, WRONG, OTHER],
        "easy": [RIGHT] * 3,
    }
    refined = {"mended": RIGHT, "spoilt": WRONG, "hopeless": RIGHT, "easy": RIGHT}

    def of(name: str, ballot: Ballot, prompt: int, tokens: int) -> Ballot:
        return Ballot(names[name].problem_id, ballot.answer, ballot.passed, prompt, tokens, -float(tokens))

    return weigh(
        list(names.values()),
        candidates=[of(name, one, 10, 10) for name, some in candidates.items() for one in some],
        extra=[of(name, RIGHT, 10, 10) for name in names for _ in range(2)],
        refined=[of(name, one, 30, 10) for name, one in refined.items()],
        critiques=[],
        greedy=[of(name, WRONG if name == "hopeless" else RIGHT, 10, 10) for name in names],
    )


def test_a_refinement_is_held_against_one_greedy_answer_too(weighed):
    assert weighed["greedy"] == 0.75
    assert (weighed["against_greedy"]["wrong_to_right"], weighed["against_greedy"]["right_to_wrong"]) == (1, 1)
    assert weighed["recovered_by_greedy"] == 0


def test_the_gap_and_the_flips_are_against_the_same_candidates(weighed):
    assert (weighed["n"], weighed["refined"], weighed["majority"], weighed["gap"]) == (4, 0.75, 0.5, 0.25)
    assert {name: weighed["against_majority"][name] for name in ("wrong_to_right", "right_to_wrong")} == {
        "wrong_to_right": 2,
        "right_to_wrong": 1,
    }
    assert (weighed["all_wrong"], weighed["recovered"], weighed["recovery"]) == (1, 1, 1.0)
    assert (weighed["one"], weighed["any"]) == (pytest.approx(6 / 12), 0.75)


def test_at_equal_tokens_the_vote_has_the_samples_that_the_refinements_tokens_buy(weighed):
    """A refinement of 40 tokens is two samples of 20: with two right ones more the mended vote is right without it."""
    equal = weighed["equal_tokens"]
    assert equal["samples"] == 5.0
    assert (equal["majority"], equal["any"]) == (0.75, 1.0)
    assert equal["gap"] == 0.0
    assert weighed["tokens"]["extra"] == {"attempts": 8, "prompt": 80, "generated": 80}
    assert weighed["tokens"]["refinements"] == {"attempts": 4, "prompt": 120, "generated": 40}
    assert weighed["tokens"]["extra_unused"]["attempts"] == 0


def test_undecided_problems_are_in_no_rate_and_problems_count_by_their_weight():
    heavy, light, open_ = problem("heavy", 3.0), problem("light"), problem("open")
    facts = weigh(
        [heavy, light, open_, problem("unrefined")],
        candidates=[vote("1", True, one) for one in (heavy, light, open_)],
        extra=[],
        refined=[vote("1", True, heavy), vote("2", False, light), vote("?", None, open_)],
        critiques=[],
    )
    assert (facts["n"], facts["undecided"], facts["unrefined"]) == (2, 1, 1)
    assert facts["refined"] == 0.75
    assert (facts["best"], facts["greedy"], facts["recovered_by_greedy"]) == (None, None, None)
