"""Which of several right answers are trained on: one a path, the best, the first so many."""

import pytest

from storage.identity import digest
from storage.records import Example, ExampleEvidence
from tasks.composition import Candidate
from tasks.equations import equations, path_of
from tasks.selection import Limits, within


def candidate(problem: str, text: str, reward: float = 0.0) -> Candidate:
    example = Example.of(problem, text)
    return Candidate(example, ExampleEvidence(example.example_id, digest(problem), "sampled"), reward, path_of(text))


def kept(limits: Limits, *batches: list[Candidate]) -> list[str]:
    chosen = within(batches, limits)
    return [one.example.completion for batch in batches for one in chosen.those_of(batch)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("She has 3 * 4 = <<3*4=12>>12 apples and 12 - 5 = 7 left.", ("3*4=12", "12-5=7")),
        ("3×4=12, so 12 − no: 12 - 5 = 7", ("3*4=12", "12-5=7")),
        ("$1,200 / 4 = $300 a month", ("1200/4=300",)),
        ("(2 + 3) * 4 = 20", ("(2+3)*4=20",)),
        ("the answer is 7", ()),
        ("x = 7", ()),
    ],
)
def test_equations_are_read_in_one_spelling(text, found):
    assert equations(text) == found


def test_two_ways_of_writing_the_same_equations_are_one_path():
    one, other = "3 * 4 = 12. Then 12 - 5 = 7.", "First 3*4=12 and next 12-5=7"
    assert path_of(one) == path_of(other)
    assert path_of(one) != path_of("12 - 5 = 7 after 3 * 4 = 12")
    assert path_of("seven") != path_of("eight")


def test_one_text_of_each_path_of_a_problem_is_kept():
    rows = [
        candidate("p", "2 + 2 = 4"),
        candidate("p", "so 2+2=4"),
        candidate("p", "1 + 3 = 4"),
        candidate("q", "so 2+2=4"),
    ]
    assert kept(Limits(paths=True), rows[:2], rows[2:]) == ["2 + 2 = 4", "1 + 3 = 4", "so 2+2=4"]


def test_of_each_problem_the_highest_reward_is_kept_and_the_first_of_equals():
    rows = [
        candidate("p", "a", 0.2),
        candidate("p", "b", 0.9),
        candidate("q", "c", 0.5),
        candidate("p", "d", 0.9),
        candidate("q", "e", 0.4),
    ]
    assert kept(Limits(best=True), rows[:3], rows[3:]) == ["b", "c"]


def test_a_cap_counts_after_paths_and_rewards():
    rows = [
        candidate("p", "2 + 2 = 4"),
        candidate("p", "so 2+2=4"),
        candidate("p", "1 + 3 = 4"),
        candidate("p", "5 - 1 = 4"),
    ]
    assert kept(Limits(cap_per_problem=2, paths=True), rows) == ["2 + 2 = 4", "1 + 3 = 4"]


def test_without_limits_nothing_is_looked_at_twice():
    assert not Limits().any
    assert Limits(paths=True).any
