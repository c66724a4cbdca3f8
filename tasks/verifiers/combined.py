"""Several verifiers as one: `all(math,constraints:max_words=200)` passes where each does, `any(exact,numeric)` where one does.

A part that is undecided decides nothing: `all` fails where another part fails, `any` passes where another passes, and
otherwise the whole is undecided. The first part that decides gives the answer and the reason.

`each(sums,sum_equations)` passes where `all` does, and keeps what each part said of each aspect apart: every part is asked, and a
judgement without an aspect gets its part's ref for one.
"""

from collections.abc import Sequence
from dataclasses import replace

from storage.records import Problem
from tasks.verifiers.judging import sound
from tasks.verifiers.protocol import Judgement, Verifier, Verify

EACH = "each"


def of(how: str, parts: Sequence[Verifier]) -> Verify:
    """The combination as one verifier that judges in this thread; `tasks.judgements` asks each part where it belongs."""

    def verify_each(text: str, problem: Problem) -> list[Judgement]:
        verdicts = [part.verify(text, problem) for part in parts]
        return apart(parts, [one if isinstance(one, list) else [one] for one in verdicts])

    def verify(text: str, problem: Problem) -> Judgement:
        judged: list[Judgement] = []
        for part in parts:
            verdict = part.verify(text, problem)
            judged.append(conjunction(verdict if isinstance(verdict, list) else [verdict]))
            if decides(how, judged[-1]):
                break
        return combination(how, judged)

    return verify_each if how == EACH else verify


def apart(parts: Sequence[Verifier], judged: Sequence[Sequence[Judgement]]) -> list[Judgement]:
    """What every part said, each judgement under an aspect of its own."""
    found: dict[str, Judgement] = {}
    for part, said in zip(parts, judged, strict=True):
        for one in map(sound, said):
            aspect = one.aspect or part.ref
            while aspect in found:
                aspect = f"{part.ref} {aspect}"
            found[aspect] = replace(one, aspect=aspect)
    return list(found.values())


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
