import dataclasses
from pathlib import Path

import pytest

from storage.errors import UserMistake
from storage.records import Attempt, Problem
from tasks.problems.registry import load as load_problems
from tasks.problems.scratchpad import work
from tasks.prompts.render import completion
from tasks.verifiers.judging import judge
from tasks.verifiers.protocol import Judgement, Verifier
from tasks.verifiers.registry import load


def judged(name: str, text: str, problem: Problem) -> Judgement:
    verdict = load(name).verify(text, problem)
    assert isinstance(verdict, Judgement)
    return verdict


def test_every_gold_answer_of_addition_passes_and_other_golds_do_not():
    problems = load_problems("addition:1-5")
    rows = [problem for split in ("dev", "test") for problem in problems.take(split, 0, 10_000)]
    rows += problems.take("train", 0, 1_000)
    for place, problem in enumerate(rows):
        assert judged("sums", completion("addition", problem, rationale=False), problem).passed
        assert judged("sums", work(problem.question), problem).passed
        assert judged("sum_steps", work(problem.question), problem).passed
        for other in (rows[place - 1], rows[place - 2], rows[place - 3]):
            same = other.gold == problem.gold
            assert judged("sums", completion("addition", other, rationale=False), problem).passed is same


def test_a_right_answer_through_a_wrong_step_is_told_apart():
    documents = load_problems("addition:1-5").corpus(0, 2_000)
    right = [row for row in documents if judged("sums", row.rationale or "", row).passed]
    assert all(judged("sum_steps", row.rationale or "", row).passed for row in right)
    wrong = [row for row in documents if not judged("sums", row.rationale or "", row).passed]
    assert wrong
    assert not any(judged("sum_steps", row.rationale or "", row).passed for row in wrong)
    patched = [f"{(row.rationale or '').partition('A')[0]}A{row.gold}" for row in wrong]
    assert all(judged("sums", text, row).passed for text, row in zip(patched, wrong, strict=True))
    assert not any(judged("sum_steps", text, row).passed for text, row in zip(patched, wrong, strict=True))


ATTEMPT = Attempt("0" * 32, "0" * 32, "0" * 32, "0" * 32, "0" * 32, "e", "{}", 0, 0, "A000002", "stop", 1, 1)
PROBLEM = Problem.of("case", "test", "00001+00001", "000002")


def test_an_attempt_that_its_engine_did_not_finish_is_undecided():
    failed = dataclasses.replace(ATTEMPT, finish_reason="failed", error="out of memory")
    (verdict,) = judge(load("sums"), failed, PROBLEM)
    assert verdict.passed is None
    assert "out of memory" in str(verdict.reason)


def test_a_text_that_was_cut_off_is_judged_by_what_it_says():
    cut = dataclasses.replace(ATTEMPT, finish_reason="length", text="1102")
    assert judge(load("sums"), cut, PROBLEM) == [Judgement(False, reason="no answer")]
    assert judge(load("sums"), dataclasses.replace(cut, text="A2"), PROBLEM)[0].passed


def test_a_verifier_that_crashes_or_talks_nonsense_leaves_it_undecided():
    def crash(text: str, problem: Problem) -> Judgement:
        raise ZeroDivisionError("no")

    for verify, reason in ((crash, "ZeroDivisionError: no"), (lambda *_: [], "returned []"), (lambda *_: True, "True")):
        (verdict,) = judge(Verifier("own", "own", verify), ATTEMPT, PROBLEM)  # type: ignore[arg-type]
        assert verdict.passed is None
        assert verdict.reason is not None
        assert reason in verdict.reason


def test_a_verifier_may_judge_several_aspects():
    several = [Judgement(True), Judgement(False, aspect="steps", reason="wrong")]
    assert judge(Verifier("own", "own", lambda *_: several), ATTEMPT, PROBLEM) == several


def test_a_dotted_path_is_a_users_own_verifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "own_checks.py").write_text(
        "from tasks.verifiers.protocol import Judgement\ndef short(text, problem):\n    return Judgement(len(text) < 9)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    verifier = load("own_checks:short")
    assert verifier.module == "own_checks"
    assert judge(verifier, ATTEMPT, PROBLEM) == [Judgement(True)]
    with pytest.raises(UserMistake, match="own_checks:long"):
        load("own_checks:long")


def test_an_unknown_verifier_names_those_there_are():
    with pytest.raises(
        UserMistake,
        match="no verifier 'maths'; this checkout has: choice, code, constraints, exact, instruction, judge, math",
    ):
        load("maths")
    with pytest.raises(UserMistake, match="sums takes no options"):
        load("sums:strict")
    with pytest.raises(UserMistake, match="cannot be imported"):
        load("no.such.module:verify")
