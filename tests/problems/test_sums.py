import re

import pytest

from storage.errors import UserMistake
from tasks.problems.protocol import SPLITS
from tasks.problems.registry import load
from tasks.prompts.render import completion, render
from tasks.verifiers.registry import load as load_verifier

REFS = ["sums:2", "sums:20", "sums:99", "sums:20,sign=minus", "sums:50,sign=minus"]


def pair(question: str) -> frozenset[str]:
    return frozenset(re.findall(r"\d+", question))


def whole(ref: str, split: str):
    problems = load(ref)
    return problems.take(split, 0, problems.size(split) or 0)


@pytest.mark.parametrize("ref", REFS)
def test_a_pair_is_in_one_split_whichever_way_round(ref):
    found = {split: {pair(one.question) for one in whole(ref, split)} for split in SPLITS}
    assert not found["train"] & found["dev"]
    assert not found["test"] & (found["dev"] | found["train"])
    largest = int(re.findall(r"\d+", ref)[0])
    assert sum(map(len, found.values())) == (largest + 1) * (largest + 2) // 2


@pytest.mark.parametrize("ref", REFS)
def test_every_question_comes_once_and_its_gold_is_right(ref):
    problems = [one for split in SPLITS for one in whole(ref, split)]
    assert len({one.question for one in problems}) == len(problems)
    for one in problems:
        a, sign, b = re.fullmatch(r"What is (\d+) ([+-]) (\d+)\?", one.question).groups()
        assert int(one.gold) == (int(a) + int(b) if sign == "+" else int(a) - int(b)) >= 0
        assert one.stratum in {"carry", "no carry"}


def test_few_sums_are_asked_in_both_orders_and_many_in_one():
    assert [load("sums:20").size(split) for split in SPLITS] == [224, 72, 145]
    assert [load("sums:99").size(split) for split in SPLITS] == [4675, 125, 250]
    orders = {one.question for one in whole("sums:20", "test")}
    for question in orders:
        a, b = re.findall(r"\d+", question)
        assert f"What is {b} + {a}?" in orders


def test_problems_can_be_taken_from_anywhere():
    for ref in ("sums:20", "sums:99"):
        problems = load(ref)
        assert problems.take("train", 0, 60)[50:] == problems.take("train", 50, 10)
        assert problems.take("train", problems.size("train") - 1, 10) == problems.take("train", 0, 10_000)[-1:]
        assert problems.corpus(0, 10) == []


@pytest.mark.parametrize("ref", ["sums:20", "sums:20,sign=minus"])
def test_every_gold_answer_passes_and_no_other_does(ref):
    problems = whole(ref, "test")
    verify = load_verifier(load(ref).verifier).verify
    for place, one in enumerate(problems):
        assert verify(completion("sums", one, rationale=False), one).passed
        for other in problems[place - 3 : place]:
            assert verify(completion("sums", other, rationale=False), one).passed is (other.gold == one.gold)


def test_the_prompt_shows_two_worked_sums_and_no_answer_of_its_own():
    for one in whole("sums:20", "test"):
        direct, hinted = render("sums", one).text, render("sums", one, hinted=True).text
        assert direct.count("Answer:") == 2
        assert direct.endswith(f"Question: {one.question}")
        assert hinted.endswith(f"Question: {one.question} (The answer is {one.gold}.)")
    shown = {pair(line) for line in render("sums", one).text.splitlines() if line.startswith("Question:")}
    held_out = {pair(problem.question) for split in ("dev", "test") for problem in whole("sums:20", split)}
    assert not (shown - {pair(one.question)}) & held_out


@pytest.mark.parametrize("ref", ["sums:1", "sums:x", "sums:20,sign=times", "sums:20,plus", "sums:1000000"])
def test_options_that_do_not_fit_are_one_sentence(ref):
    with pytest.raises(UserMistake, match=r"^sums"):
        load(ref)
