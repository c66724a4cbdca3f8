"""The text is the gold answer, character by character, but for white space around it."""

from storage.records import Problem
from tasks.verifiers.protocol import Judgement


def verify(text: str, problem: Problem) -> Judgement:
    """Passes when text and gold are equal once stripped of surrounding white space; undecided without gold."""
    if problem.gold is None:
        return Judgement(None, reason="the problem has no gold answer")
    answer = text.strip()
    if answer == problem.gold.strip():
        return Judgement(True, answer=answer)
    return Judgement(False, answer=answer, reason="another text" if answer else "no answer")
