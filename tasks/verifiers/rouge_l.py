"""How near an answer is to a reference in words: `rouge_l`, `rouge_l:at_least=0.4`. Not whether it is right.

    >>> verify("Paris is the capital.", gold="The capital is Paris.")
    Judgement(passed=True, score=0.5, …)

`score` is ROUGE-L F (see `rouge`), and an answer passes from `at_least` on. That is what Super-NaturalInstructions is scored by, and
what there is where a task has one reference among many right answers: another right answer fails, and a wrong one in the reference's
words passes.
"""

from storage.errors import UserMistake
from storage.records import Problem
from tasks.verifiers.protocol import Judgement, Verify
from tasks.verifiers.rouge import f_measure, words

AT_LEAST = 0.5


def verify(text: str, problem: Problem) -> Judgement:
    """Against the gold text, at the usual threshold."""
    return _judged(text, problem, AT_LEAST)


def configured(options: str) -> Verify:
    """One with another threshold; raises UserMistake for options that do not fit."""
    name, equals, value = options.partition("=")
    try:
        at_least = float(value) if equals and name == "at_least" else -1.0
    except ValueError:
        at_least = -1.0
    if not 0 < at_least <= 1:
        raise UserMistake(
            f"verifier rouge_l has no option {options!r}; write rouge_l:at_least=0.5, more than 0 and at most 1"
        )
    return lambda text, problem: _judged(text, problem, at_least)


def _judged(text: str, problem: Problem, at_least: float) -> Judgement:
    if problem.gold is None:
        return Judgement(None, reason="the problem has no reference to compare with")
    score = f_measure(words(text), words(problem.gold))
    if text.strip() == problem.gold.strip():
        score = 1.0  # also in scripts that ROUGE has no words for
    answer = text.strip()
    if score >= at_least:
        return Judgement(True, answer, score)
    return Judgement(
        False,
        answer,
        score,
        f"ROUGE-L {score:.2f} with the reference, {at_least:g} is wanted" if answer else "no answer",
    )
