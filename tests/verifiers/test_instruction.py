"""Constraints as they are read from an instruction, graded, and judged one by one; and the equations of a written sum."""

import random

import pytest

from flows.constraints import check_constraints, joined, measured, required
from storage.errors import UserMistake
from storage.records import Attempt, Problem
from tasks.judgements import Means, judgements
from tasks.problems.registry import load as load_problems
from tasks.problems.scratchpad import work
from tasks.verifier_pool import VerifierPool
from tasks.verifiers import sum_equations, sum_steps
from tasks.verifiers.combined import conjunction
from tasks.verifiers.constraint_levels import level_of
from tasks.verifiers.instruction import pulled, response_of
from tasks.verifiers.registry import load
from tasks.verifiers.written_equations import written

READ = [
    ("Answer in at most thirty words.", {"max_words": 30}),
    ("Use fewer than 20 words and at least 2 sentences.", {"max_words": 19, "min_sentences": 2}),
    ("No more than five lines, no fewer than 3 lines.", {"max_lines": 5, "min_lines": 3}),
    ("Use between 20 and 40 words.", {"min_words": 20, "max_words": 40}),
    ("A poem in exactly two paragraphs, all lowercase.", {"paragraphs": 2, "lowercase": True}),
    ('Use the words "sun", "rain" and "snow" in this order.', {"in_order": ["sun", "rain", "snow"]}),
    ('Include the word "sun". Do not use the words "rain" or "snow".', {"contains": ["sun"], "excludes": ["rain", "snow"]}),
    ('Begin with "Well" and end with "Done."', {"starts_with": "Well", "ends_with": "Done."}),
    ("State the price in cents. Every number has to lie between 1 and 900.", {"unit": "cent", "numbers": {"min": 1, "max": 900}}),
    ("Show each step as an equation, without commas.", {"equations": True, "no_commas": True}),
    ("Write a story about three words of wisdom in the first person.", {}),
    ("How far does she ride in 4 hours?", {}),
]  # fmt: skip


@pytest.mark.parametrize(("instruction", "wanted"), READ)
def test_constraints_are_read_from_the_words_of_an_instruction(instruction, wanted):
    assert {one.name: one.value for one in pulled(instruction)} == wanted
    for one in pulled(instruction):
        assert one.said.split()[-1] in instruction


def test_constraints_are_graded_by_how_hard_they_are_to_judge():
    names = ["max_words", "json", "in_order", "unit", "numbers", "sums", "equations", "constraints:max_words=3"]
    assert [level_of(name) for name in names] == [1, 1, 2, 2, 3, 3, 4, 3]


def test_what_is_planned_before_the_response_is_not_judged():
    assert response_of("Plan: a, b\nResponse: c\nAnswer: 5") == "c\nAnswer: 5"
    assert response_of("no such line") == "no such line"


def problem() -> Problem:
    question = 'What is 15 * 4? Use at most 6 words. Use the word "so". Show the calculation as an equation.'
    return Problem.of("case", "test", question, "60")


def test_each_constraint_has_a_judgement_of_its_own_whatever_the_others_say():
    said = load("each(numeric,instruction)").verify("15 * 4 = 61\nAnswer: 60", problem())
    assert isinstance(said, list)
    assert {one.aspect: one.passed for one in said} == {
        "numeric": True, "max_words": True, "contains": False, "equations": False,
    }  # fmt: skip
    assert conjunction(said).passed is False


@pytest.mark.slow
def test_parts_that_may_hang_are_asked_in_workers_and_come_back_in_order(tmp_path):
    def attempt(text: str) -> Attempt:
        return Attempt("0" * 32, "0" * 32, "0" * 32, "0" * 32, "0" * 32, "e", "{}", 0, 0, text, "stop", 1, 1)

    texts = ["so 15 * 4 = 60\nAnswer: 60", "sixty\nAnswer: 60", "so 15 * 4 = 60\nAnswer: 61"]
    rows = [(attempt(text), problem()) for text in texts]
    with VerifierPool(tmp_path) as pool:
        found = list(judgements(load("each(numeric,instruction)"), rows, Means(pool)))
    assert [one.text for one, _ in found] == texts
    assert [{one.aspect: one.passed for one in said} for _, said in found] == [
        {"numeric": True, "max_words": True, "contains": True, "equations": True},
        {"numeric": True, "max_words": True, "contains": False, "equations": False},
        {"numeric": False, "max_words": True, "contains": True, "equations": True},
    ]


def test_levels_leave_out_what_is_harder_to_judge():
    text, refs = "15 * 4 = 61", ["numeric", "instruction"]
    for hardest, kept in (
        (1, {"max_words"}),
        (2, {"max_words", "contains"}),
        (3, {"max_words", "contains", "numeric"}),
    ):
        said = load(required(refs, hardest)).verify(text, problem())
        assert {one.aspect for one in said} == kept
        rest = load(measured(refs, hardest)).verify(text, problem())
        rest = rest if isinstance(rest, list) else [rest]
        assert {one.aspect or "numeric" for one in rest} | kept == {"numeric", "max_words", "contains", "equations"}
    assert required(refs, 4) == "each(numeric,instruction)"
    assert measured(refs, 4) is None
    assert joined(["each(sums,sum_equations)", "sums"]) == "each(sums,sum_equations)"
    with pytest.raises(UserMistake, match="levels = 2 leaves no constraint of numeric"):
        required(["numeric"], 2)


@pytest.mark.parametrize(
    ("ref", "sentence"),
    [("instruction:levels=5", "levels=5 does not fit"), ("instruction:levels=3-1", "levels=3-1 does not fit"),
     ("instruction:max=3", "instruction has no option 'max=3'; it has: levels"),
     ("sum_equations:levels=3", "judges nothing; its constraints have the levels 1, 2 and 4")],
)  # fmt: skip
def test_levels_that_do_not_fit_are_one_sentence(ref, sentence):
    with pytest.raises(UserMistake) as refused:
        load(ref)
    assert sentence in str(refused.value)


def test_a_set_without_constraints_is_refused_with_what_would_fit():
    for refs in (["sums"], ["instruction"]):
        with pytest.raises(UserMistake) as refused:
            check_constraints("addition:1-5", refs)
        assert "such as constrained" in str(refused.value)
        assert '"sum_equations"' in str(refused.value)
    check_constraints("addition:1-5", ["sums", "sum_equations"])
    check_constraints("addition:1-5", ["constraints:max_words=60"])
    check_constraints("constrained", [load_problems("constrained").verifier])


def slipped(question: str, draw: random.Random) -> str:
    """A worked sum with up to two characters changed."""
    text = list(work(question))
    for _ in range(draw.randrange(3)):
        text[draw.randrange(len(text))] = str(draw.randrange(10))
    return "".join(text)


def test_equations_that_all_hold_are_the_right_scratchpad_and_no_other():
    draw, seen = random.Random(5), set()
    for one in load_problems("addition:1-5").take("train", 0, 600):
        text = slipped(one.question, draw)
        mine = conjunction(sum_equations.verify(text, one)).passed
        seen.add((sum_steps.verify(text, one).passed, mine))
        if text.partition("A")[1] and text.rpartition("A")[2].isdigit():
            assert mine is sum_steps.verify(text, one).passed
    assert {(True, True), (False, False)} <= seen


def test_an_equation_is_arithmetic_around_an_equals_sign():
    found = written("She rides 15 km/h * 4 h = 60 km, and x = 60 + 5 = 64. 3 = 3")
    assert [(one.text, one.holds) for one in found] == [("15 * 4 = 60", True), ("60 + 5 = 64", False)]
    assert written("(" * 5000 + "1 + 1 = 2") == written("1 + 1 = 2")
