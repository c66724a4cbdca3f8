"""The final answer of a sum: what stands after the last `A` of the text, which must end there.

    >>> verify("890727106512001100000A001207", problem)     # problem.gold == "001207"
    Judgement(passed=True, answer='1207')

The steps before it are not looked at: a right answer after a wrong step passes (`sum_steps` measures how often).
"""

import re

from storage.records import Problem
from tasks.verifiers.protocol import Judgement

_ANSWER = re.compile(r"A([0-9]+)\s*\Z")


def verify(text: str, problem: Problem) -> Judgement:
    """Passes when the last stated answer equals the gold one as a number; leading zeros do not matter."""
    if problem.gold is None:
        return Judgement(None, reason="the problem has no gold answer")
    stated = _ANSWER.search(text[-64:])
    if stated is None:
        return Judgement(False, reason="no answer")
    answer = stated[1].lstrip("0") or "0"
    if answer == (problem.gold.lstrip("0") or "0"):
        return Judgement(True, answer=answer)
    return Judgement(False, answer=answer, reason="wrong answer")
