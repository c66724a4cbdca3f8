"""How a sum is worked on paper, and by whom: the right scratchpad, and writers who forget carries.

    00628+00579  →  8971 2701 6521 0010 0000 A001207     (written without the spaces)

From the right, four characters a digit: the two digits, the digit of the sum, the carry. Then `A` and the answer with
one digit more than the operands.
"""

from collections.abc import Callable

Slip = Callable[[int, int, int], bool]
"""Whether the writer forgets the carry that arises from (digit, digit, carry in)."""


def work(question: str, forgets: Slip | None = None) -> str:
    """The scratchpad and answer for a question such as `00628+00579`; without `forgets` it is right throughout.

    A forgotten carry is written as 0 and the writer goes on from there, so the answer is the one that his steps lead to.
    """
    first, _, second = question.partition("+")
    carry, steps, answer = 0, [], ""
    for x, y in zip(map(int, reversed(first)), map(int, reversed(second)), strict=True):
        total = x + y + carry
        carry_out = total // 10
        if carry_out and forgets is not None and forgets(x, y, carry):
            carry_out = 0
        carry = carry_out
        steps.append(f"{x}{y}{total % 10}{carry}")
        answer = f"{total % 10}{answer}"
    return f"{''.join(steps)}A{carry}{answer}"


def slip_probability(x: int, y: int) -> float:
    """How likely a corpus writer forgets the carry of x + y: only where both digits are 5 or more, and then mostly.

    From 0.55 for 5 + 5 to 0.95 for 9 + 9. Where the carry comes from a smaller digit it is never forgotten, so that
    what to learn is there to be found.
    """
    if x < 5 or y < 5:
        return 0.0
    return 0.55 + 0.40 * (x + y - 10) / 8
