"""Problems that reasoning-gym makes: split by ranges of one seed, and passed at 1.0 only."""

import pytest

from storage.errors import UserMistake
from storage.records import Problem
from tasks.problems.generated import GeneratedProblems, items_of
from tasks.problems.listed import key_of
from tasks.problems.registry import load
from tasks.prompts.render import render
from tasks.verifiers.generator_score import answer_in, evaluates, harmless, verify

GENERATORS = ("leg_counting", "chain_sum", "word_sorting", "spiral_matrix", "countdown", "puzzle24", "simple_integration", "n_queens", "number_sorting")  # fmt: skip


def made(generator: str, count: int) -> list[Problem]:
    """Train problems, without making all that is held out first."""
    found = load(f"reasoning_gym:{generator}")
    assert isinstance(found, GeneratedProblems)
    return list(found.made("train", range(1000, 1000 + count)))


def test_no_problem_stands_in_two_splits_even_of_a_small_generator():
    found = load("reasoning_gym:chain_sum,min_terms=2,max_terms=2,min_digits=1,max_digits=2")
    held = {key_of(problem.question) for split in ("dev", "test") for problem in found.take(split, 0, 1000)}
    train = found.take("train", 0, 300)
    assert len(train) == 300
    assert not held & {key_of(problem.question) for problem in train}
    assert found.take("train", 250, 50) == train[250:]
    assert found.size("train") is None


def test_the_same_ref_makes_the_same_problems():
    first = made("leg_counting", 20)
    items_of.cache_clear()
    again = list(GeneratedProblems("leg_counting", {}, "reasoning_gym:leg_counting").made("train", range(1000, 1020)))
    assert first == again
    assert first[3].gold is not None
    assert (
        first[3].gold not in render("reasoning_gym", first[3]).text.rpartition("Question:")[2] or len(first[3].gold) < 3
    )


@pytest.mark.slow
@pytest.mark.parametrize("generator", GENERATORS)
def test_every_gold_answer_passes_and_other_golds_do_not(generator: str):
    problems = made(generator, 8)
    for place, problem in enumerate(problems):
        assert verify(f"So it is <answer>{problem.gold}</answer>", problem).passed, problem
        other = problems[place - 1]
        if other.gold != problem.gold:
            assert verify(f"<answer>{other.gold}</answer>", problem).passed is False


def test_a_generator_with_an_end_or_without_one_answer_serves_as_well():
    acre = load("reasoning_gym:acre")
    assert acre.size("train") == 3000
    assert len(acre.take("train", 2990, 50)) == 10
    colors = made("graph_color", 2)
    assert [problem.gold for problem in colors] == [None, None]
    assert verify("<answer>{}</answer>", colors[0]).passed is False


def test_part_of_the_credit_is_no_pass():
    (problem,) = made("leg_counting", 1)
    verdict = verify(f"<answer>{problem.gold} legs</answer>", problem)
    assert verdict.passed is False
    assert 0 < (verdict.score or 0) < 1


def test_the_last_answer_counts_and_none_is_none():
    assert answer_in("<answer>1</answer> no, <answer> 2 </answer>") == "2"
    assert answer_in("The answer is: 7.") == "7."
    assert answer_in("It is 7.") is None
    (problem,) = made("leg_counting", 1)
    assert verify(f"It is {problem.gold}.", problem).reason == "no answer"


@pytest.mark.parametrize("attack", ["__import__('os').system('touch {place}')", "[open('{place}', 'w')]", "(lambda: open('{place}', 'w'))()", "exec(\"open('{place}', 'w')\")", "().__class__.__base__.__subclasses__()", "open('{place}','w') or 1"])  # fmt: skip
@pytest.mark.parametrize(
    "generator",
    ["spiral_matrix", "n_queens", "string_insertion", "binary_matrix", "simple_integration", "countdown"],
)
def test_an_answer_that_would_be_run_is_not(tmp_path, generator: str, attack: str):
    assert evaluates(generator)
    (problem,) = made(generator, 1)
    canary = tmp_path / "canary"
    assert verify(f"<answer>{attack.format(place=canary)}</answer>", problem).passed is False
    assert not canary.exists()


def test_harmless_is_what_can_only_compute():
    assert all(
        map(
            harmless,
            ["3 + 4*(5 - 2)", "6*x**2 + 3*x*y - 1", "['A', 'B']", "1 2 3", "ABCD", "sin(x)**2 + C", "_ Q _\nQ _ _"],
        )
    )
    assert not any(
        map(
            harmless,
            [
                "x.real",
                "open('x')",
                "a[0]",
                "f'{x}'",
                "9**9**9",
                "2**99999",
                "(lambda: 1)()",
                "(9**99)**999**9",
                "os.system(x)",
                "exit()",
            ],
        )
    )


def test_a_problem_of_another_set_or_version_is_undecided():
    assert verify("<answer>2</answer>", Problem.of("set", "test", "1+1?", "2")).passed is None
    (problem,) = made("leg_counting", 1)
    other = Problem.of(problem.source, "train", "another question", problem.gold, info={"generator": "leg_counting", "options": {}, "index": 1000, "seed": 20_260_101, "size": 2**31})  # fmt: skip
    assert verify(f"<answer>{problem.gold}</answer>", other).passed is None


def test_what_does_not_fit_is_said():
    with pytest.raises(UserMistake, match="reasoning-gym has no generator 'leg_countin'; it has: leg_counting"):
        load("reasoning_gym:leg_countin")
    with pytest.raises(UserMistake, match="has no option 'seed=3'"):
        load("reasoning_gym:leg_counting,seed=3")
    with pytest.raises(UserMistake, match="does not take"):
        load("reasoning_gym:leg_counting,legs=3")
