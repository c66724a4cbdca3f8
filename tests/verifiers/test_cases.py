"""Every verifier against its labelled table: what a person would say, and where it is known to say otherwise."""

from typing import Any

import pytest

from flows.cases import Case, case_table, cases_of
from tasks.verifier_pool import Limits, VerifierPool
from tasks.verifiers.combined import conjunction
from tasks.verifiers.judge import verifier as judge_by
from tasks.verifiers.judging import judge
from tasks.verifiers.protocol import Judgement, Verifier
from tasks.verifiers.registry import MAY_HANG, VERIFIERS, load

INDEPENDENT = 0.3
SIMPLE = sorted(VERIFIERS.keys() - MAY_HANG - {"judge"})


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    with VerifierPool(tmp_path_factory.mktemp("logs"), limits=Limits(cpu_s=3.0)) as pool:
        yield pool


@pytest.mark.parametrize("name", sorted(VERIFIERS))
def test_a_table_is_long_enough_and_partly_from_elsewhere(name: str):
    cases = cases_of(case_table(name))
    assert len(cases) >= 60
    assert sum(bool(case.source) for case in cases) >= INDEPENDENT * len(cases)
    assert len({(case.problem().problem_id, case.text(), case.reply) for case in cases}) == len(cases)
    for outcome in (True, False):
        assert sum(case.passed is outcome for case in cases) >= 15
    assert all("(" in case.source for case in cases if case.source), "a source states its licence"


def agrees(case: Case, said: Judgement) -> None:
    """Fails unless the verifier says what the label says, or what is known that it says instead."""
    assert said.passed or said.reason
    if case.hangs:
        assert said.passed in (case.passed, None), said
    elif case.known:
        assert said.passed is not case.passed, f"no longer wrong; take 'known' out of the case: {case.known}"
        assert said.passed is not True, "a known false accept has to be mended"
    else:
        assert said.passed is case.passed, said
    if case.score is not None:
        assert said.score == case.score


@pytest.mark.parametrize("name", SIMPLE)
def test_a_verifier_judges_its_cases(name: str):
    verifier = load(name)
    for case in cases_of(case_table(name)):
        agrees(case, conjunction(judge(verifier, case.attempt(), case.problem())))


def test_a_judge_reads_replies_as_its_cases_say():
    for case in cases_of(case_table("judge")):
        reply: Any = case.reply
        verifier = Verifier("judge", "tasks.verifiers.judge", judge_by(lambda prompt, reply=reply: reply))
        (said,) = judge(verifier, case.attempt(), case.problem())
        agrees(case, said)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MAY_HANG))
def test_a_verifier_that_may_hang_judges_its_cases_in_the_pool(name: str, pool: VerifierPool):
    cases = cases_of(case_table(name))
    said = list(pool.judge(name, [(case.attempt(), case.problem()) for case in cases]))
    for case, (attempt, judgements) in zip(cases, said, strict=True):
        assert attempt.text == case.text()
        agrees(case, conjunction(judgements))
    assert pool.replaced >= 1 or name != "constraints"
