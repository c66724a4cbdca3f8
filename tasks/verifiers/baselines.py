"""What people use where no verifier was chosen with care, to compare with: never for a run.

last_number      the last number of the text is the answer
math_verify      the `math-verify` package by itself, as its documentation shows it, in a main thread
"""

import re
from fractions import Fraction

from storage.records import Problem
from tasks.verifiers.protocol import Judgement

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def last_number(text: str, problem: Problem) -> Judgement:
    """Passes when the last number of the text is the last number of the gold answer."""
    found, gold = _NUMBER.findall(text), _NUMBER.findall(problem.gold or "")
    if not found or not gold:
        return Judgement(False, reason="no number")
    same = Fraction(found[-1].replace(",", "")) == Fraction(gold[-1].replace(",", ""))
    return Judgement(same, answer=found[-1][:200], reason=None if same else "another number")


def math_verify(text: str, problem: Problem) -> Judgement:
    """Passes when `verify(parse(gold), parse(text))` does; a gold answer that is bare LaTeX stands between dollar signs."""
    from math_verify import parse, verify

    gold = problem.gold or ""
    same = bool(verify(parse(gold if "$" in gold or "\\boxed" in gold else f"${gold}$"), parse(text)))
    return Judgement(same, reason=None if same else "another answer")
