"""Instructions that come with their constraints by construction: what was put in is what is read out, and all of it can be met."""

import json
import re
from itertools import pairwise

import pytest

from storage.errors import UserMistake
from tasks.problems.constrained import CONTRADICT, HELD_OUT, LARGEST
from tasks.problems.protocol import SPLITS
from tasks.problems.registry import load
from tasks.prompts.render import completion, render
from tasks.verifiers.combined import conjunction
from tasks.verifiers.constraint_levels import LEVELS, level_of
from tasks.verifiers.constraints import NAMES
from tasks.verifiers.instruction import pulled
from tasks.verifiers.registry import load as load_verifier

SOME = load("constrained").corpus(0, 250)


def constraints(problem) -> dict[str, object]:
    return json.loads(problem.info)["constraints"]


def calculation(problem) -> tuple[str, frozenset[str]]:
    """Which kind of question with which two numbers, in either order."""
    first = problem.question.split("?")[0]
    return re.sub(r"\d+", "#", first), frozenset(re.findall(r"\d+", first))


def test_no_calculation_stands_in_two_splits_whichever_way_round():
    found = {split: {calculation(one) for one in load("constrained").take(split, 0, 20_000)} for split in SPLITS}
    assert [len(found[split]) for split in ("dev", "test")] == [HELD_OUT, HELD_OUT]
    assert len(found["train"]) == load("constrained").size("train")
    assert not found["train"] & found["dev"]
    assert not found["test"] & (found["dev"] | found["train"])
    assert sum(map(len, found.values())) == 7 * (LARGEST - 1) * (LARGEST - 2) // 2


def test_what_was_put_into_an_instruction_is_what_is_read_from_it():
    for one in SOME:
        assert {constraint.name: constraint.value for constraint in pulled(one.question)} == constraints(one)


def test_every_kind_of_constraint_and_every_level_comes():
    names = {name for one in SOME for name in constraints(one)}
    assert len(names) == 12
    assert names <= set(NAMES)
    assert {level_of(name) for name in names} == set(LEVELS)
    assert {len(constraints(one)) for one in SOME} == {2, 3, 4}
    assert all(not pair <= set(constraints(one)) for one in SOME for pair in CONTRADICT)
    assert all(one.stratum == f"{len(constraints(one))} constraints" for one in SOME)


def test_every_worked_response_meets_all_of_its_constraints():
    verify = load_verifier(load("constrained").verifier).verify
    for one in SOME:
        said = verify(completion("constrained", one), one)
        assert {judgement.aspect for judgement in said} == {"numeric", *constraints(one)}
        assert conjunction(said).passed, (one.question, one.rationale, said)


def test_the_response_to_another_instruction_hardly_ever_meets_them():
    verify = load_verifier(load("constrained").verifier).verify
    passed = [conjunction(verify(other.rationale, one)).passed for one, other in pairwise(SOME)]
    assert sum(map(bool, passed)) < 0.02 * len(passed)


def test_the_bare_gold_answer_has_its_unit():
    one = next(one for one in SOME if constraints(one)["unit"] == "metre")
    assert completion("constrained", one, rationale=False).strip() == f"Answer: {one.gold} metres"
    hinted = render("constrained", one, hinted=True).text
    assert hinted.rstrip().endswith(f"(The answer is {one.gold} metres.)")
    assert f"The answer is {one.gold} " not in render("constrained", one).text


def test_a_set_has_as_many_constraints_as_its_ref_says():
    for ref, counts in (("constrained:3", {3}), ("constrained:2-3", {2, 3})):
        assert {len(constraints(one)) for one in load(ref).take("dev", 0, 100)} == counts
    shared = [load(ref).take("dev", 0, 50) for ref in ("constrained:3", "constrained:2-3")]
    assert [calculation(one) for one in shared[0]] == [calculation(one) for one in shared[1]]


@pytest.mark.parametrize("ref", ["constrained:1", "constrained:5", "constrained:4-2", "constrained:many"])
def test_options_that_do_not_fit_are_one_sentence(ref):
    with pytest.raises(UserMistake, match="give a number of constraints, or a range, within 2-4"):
        load(ref)
