"""Several verifiers as one: `all(math,constraints:max_words=200)` passes where each does, `any(exact,numeric)` where one does.

A part that is undecided decides nothing: `all` fails where another part fails, `any` passes where another passes, and
otherwise the whole is undecided. The first part that decides gives the answer and the reason.
"""

from collections.abc import Sequence

from storage.records import Problem
from tasks.verifiers.judging import sound
from tasks.verifiers.protocol import Judgement, Verifier, Verify


def of(how: str, parts: Sequence[Verifier]) -> Verify:
    """The combination as one verifier that judges in this thread; `tasks.judgements` asks each part where it belongs."""

    def verify(text: str, problem: Problem) -> Judgement:
        judged: list[Judgement] = []
        for part in parts:
            verdict = part.verify(text, problem)
            judged.append(conjunction(verdict if isinstance(verdict, list) else [verdict]))
            if decides(how, judged[-1]):
                break
        return combination(how, judged)

    return verify


def decides(how: str, judgement: Judgement) -> bool:
    """Whether nothing that the other parts say can change the whole."""
    return judgement.passed is (how == "any")


def combination(how: str, judged: Sequence[Judgement]) -> Judgement:
    """What the parts' judgements, in order, are together."""
    deciding = next((one for one in judged if decides(how, one)), None)
    if deciding is None:
        deciding = next((one for one in judged if one.passed is None), judged[0])
    return Judgement(deciding.passed, deciding.answer, reason=deciding.reason)


def conjunction(aspects: Sequence[Judgement]) -> Judgement:
    """A verifier's judgements on several aspects as one: all have to pass."""
    judged = [sound(one) for one in aspects]
    return judged[0] if len(judged) == 1 else combination("all", judged)
