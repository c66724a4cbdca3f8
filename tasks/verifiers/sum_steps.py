"""Every written step of a sum: whether the answer was reached as it should be, or got there through a wrong step.

    00628+00579  →  8907 2710 6512 0011 0000 0 A…     (digit, digit, carry in, digit of the sum; then the last carry)

For measuring, not for filtering: `sums` decides what is kept, and this says which of it is sound. Each column is held
against the right one, so the columns after a forgotten carry are wrong too. The answer itself is not looked at.
"""

from storage.records import Problem
from tasks.verifiers.protocol import Judgement

ASPECT = "steps"


def verify(text: str, problem: Problem) -> Judgement:
    """Passes when the text up to its last `A` is the right scratchpad; `score` is the share of right columns.

    Undecided where nothing is written before the answer: there are no steps to judge.
    """
    written = text.rpartition("A")[0] if "A" in text else text
    if not written.strip():
        return Judgement(None, reason="no steps are written", aspect=ASPECT)
    right = _columns(problem.question)
    if right is None:
        return Judgement(None, reason=f"{problem.question!r:.80} is not a sum of two numbers", aspect=ASPECT)
    count = len(right)
    columns = [written[place : place + 4] for place in range(0, 4 * (count - 1), 4)] + [written[4 * (count - 1) :]]
    sound = [column == expected for column, expected in zip(columns, right, strict=True)]
    score = sum(sound) / count
    if all(sound):
        return Judgement(True, score=score, aspect=ASPECT)
    first = sound.index(False)
    reason = f"step {first + 1} is {columns[first]!r:.20}, not {right[first]!r}"
    return Judgement(False, score=score, reason=reason, aspect=ASPECT)


def _columns(question: str) -> list[str] | None:
    """The right columns, from the right, and the last carry; None unless the question is two numbers of equal width."""
    first, _, second = question.partition("+")
    if len(first) != len(second) or not (first + second).isascii() or not (first + second).isdigit():
        return None
    carry, columns = 0, []
    for x, y in zip(map(int, reversed(first)), map(int, reversed(second)), strict=True):
        columns.append(f"{x}{y}{carry}{(x + y + carry) % 10}")
        carry = (x + y + carry) // 10
    return [*columns, str(carry)]
