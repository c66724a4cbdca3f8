"""Whatever a verifier returns becomes a verdict that can be stored; nothing that is no verdict decides."""

import math
import sys

import numpy as np
import pytest

from storage.columns import to_columns
from storage.records import Attempt, Problem, Verdict
from tasks.verifiers.judging import judge
from tasks.verifiers.protocol import Judgement, Verifier

PROBLEM = Problem.of("set", "train", "1+1", "2")
ATTEMPT = Attempt("a" * 32, "b" * 32, PROBLEM.problem_id, "c" * 32, "d" * 32, "scripted", "{}", 0, 0, "2", "stop", 1, 1)


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("no name")


def judged(returned):
    def verify(text, problem):
        del text, problem
        if isinstance(returned, BaseException):
            raise returned
        return returned

    return judge(Verifier("mine:verify", "mine", verify), ATTEMPT, PROBLEM)


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (None, "the verifier returned None, not a judgement"),
        (True, "the verifier returned True, not a judgement"),
        ([], "the verifier returned [], not a judgement"),
        ([Judgement(True), False], "not a judgement"),
        (Unspeakable(), "the verifier returned a Unspeakable, not a judgement"),
        (Judgement(1), "the verifier's passed is 1, not True, False or None"),
        (Judgement("yes"), "the verifier's passed is 'yes'"),
        (Judgement(np.array([True])), "the verifier's passed is array([ True])"),
        (Judgement(True, score=math.nan), "the verifier's score is nan, not a finite number or None"),
        (Judgement(True, score=-math.inf), "the verifier's score is -inf"),
        (Judgement(True, score=10**400), "the verifier's score is 1000"),
        (Judgement(True, score="0.5"), "the verifier's score is '0.5'"),
        (Judgement(True, score=True), "the verifier's score is True"),
        (Judgement(True, answer=2), "the verifier's answer is 2, not a text or None"),
        (Judgement(False, reason=["why"]), "the verifier's reason is ['why'], not a text or None"),
        (Judgement(True, aspect=None), "the verifier's aspect is None, not a text"),
        ([Judgement(True), Judgement(False)], "the verifier judged one aspect twice"),
        (ValueError("no number"), "the verifier crashed: ValueError: no number"),
        (SystemExit(3), "the verifier crashed: SystemExit: 3"),
    ],
)
def test_what_is_no_judgement_is_undecided_with_its_reason(returned, reason):
    (judgement,) = judged(returned)
    assert judgement.passed is None
    assert reason in judgement.reason
    assert len(judgement.reason) < 300


@pytest.mark.parametrize(
    ("returned", "passed", "score"),
    [
        (Judgement(True, score=0.5), True, 0.5),
        (Judgement(np.bool_(True)), True, None),
        (Judgement(np.bool_(False), score=np.float32(0.25)), False, 0.25),
        (Judgement(False, score=1), False, 1.0),
        (Judgement(None, reason="timeout"), None, None),
    ],
)
def test_a_sound_judgement_stands_in_pythons_own_types(returned, passed, score):
    (judgement,) = judged(returned)
    assert (judgement.passed, judgement.score) == (passed, score)
    assert judgement.reason == returned.reason
    assert type(judgement.passed) in {bool, type(None)}
    assert type(judgement.score) in {float, type(None)}


def test_several_aspects_stand_beside_each_other():
    assert judged([Judgement(True), Judgement(False, aspect="steps")]) == [
        Judgement(True),
        Judgement(False, aspect="steps"),
    ]


def test_half_a_character_can_be_stored():
    (judgement,) = judged(Judgement(True, answer="\ud800", reason="\udfff"))
    row = Verdict.of(ATTEMPT.attempt_id, "mine", "e" * 32, judgement.passed, answer=judgement.answer, reason=judgement.reason)  # fmt: skip
    assert to_columns("verdict", [row]).num_rows == 1
    assert judgement.answer == "\\ud800"


def test_a_verifier_that_recurses_without_end_is_a_crash():
    def verify(text, problem):
        return verify(text, problem)

    limit = sys.getrecursionlimit()
    (judgement,) = judge(Verifier("mine:verify", "mine", verify), ATTEMPT, PROBLEM)
    assert judgement.reason.startswith("the verifier crashed: RecursionError")
    assert sys.getrecursionlimit() == limit
