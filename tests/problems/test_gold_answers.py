"""Every gold answer of every public set passes the set's own verifier, and is rejected against three other problems' golds."""

import dataclasses
import os

import pytest

from storage.records import Problem
from tasks.problems.registry import load
from tasks.prompts.render import completion
from tasks.verifier_pool import VerifierPool
from tasks.verifiers.registry import load as load_verifier
from tests.problems.test_public_sets import DATA, needs_data
from tests.verifiers.test_verifiers import ATTEMPT


def problems_of(ref: str) -> list[Problem]:
    os.environ["STARLOOP_DATA_DIR"] = str(DATA)
    found = load(ref)
    return [problem for split in ("train", "dev", "test") for problem in found.take(split, 0, 20_000)]


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(("ref", "count"), [("gsm8k", 8792), ("arc:challenge", 2582), ("commonsense_qa", 10962)])
def test_every_gold_answer_passes_and_three_others_do_not(ref: str, count: int):
    problems, found = problems_of(ref), load(ref)
    verify = load_verifier(found.verifier).verify
    assert len(problems) == count
    for place, problem in enumerate(problems):
        passed = verify(completion(found.template, problem, rationale=False), problem).passed
        assert passed, problem
        if problem.rationale:
            assert verify(completion(found.template, problem), problem).passed, problem
        for other in (problems[place - 1], problems[place - 2], problems[place - 3]):
            if other.gold != problem.gold:
                assert verify(completion(found.template, other, rationale=False), problem).passed is False, (
                    problem,
                    other,
                )


@needs_data
@pytest.mark.slow
def test_every_gold_answer_of_math500_passes_and_only_equal_ones_do_besides(tmp_path):
    problems = problems_of("math500")
    asked = [(problem, problem) for problem in problems]
    asked += [(problems[place - k], one) for place, one in enumerate(problems) for k in (1, 2, 3)]
    texts = [completion("math", said, rationale=False) for said, _ in asked]
    rows = [(dataclasses.replace(ATTEMPT, text=text), about) for text, (_, about) in zip(texts, asked, strict=True)]
    with VerifierPool(tmp_path) as pool:
        passed = [judgement.passed for _, (judgement,) in pool.judge("math", rows)]
    assert len(problems) == 500
    assert all(passed[:500])
    others = {
        (str(said.gold), str(about.gold)) for (said, about), one in zip(asked[500:], passed[500:], strict=True) if one
    }
    assert {pair for pair in others if pair[0] != pair[1]} == {("5", "x=5")}
