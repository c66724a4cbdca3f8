"""How a sum is worked on paper, and by whom: the right scratchpad, and writers who forget carries.

    00628+00579  →  8907 2710 6512 0011 0000 0 A001207     (written without the spaces)

From the right, four characters a column: the two digits, the carry into it, the digit of the sum. Then the last carry,
`A`, and the answer, which has one digit more than the operands.
"""

from collections.abc import Callable

Slip = Callable[[int, int], bool]
"""Whether the writer forgets the carry that arises where these two digits are added."""


def work(question: str, forgets: Slip | None = None) -> str:
    """The scratchpad and answer for a question such as `00628+00579`; without `forgets` it is right throughout.

    A writer who forgets a carry goes on without it, so his answer is the one that his steps lead to.
    """
    first, _, second = question.partition("+")
    carry, steps, answer = 0, "", ""
    for x, y in zip(map(int, reversed(first)), map(int, reversed(second)), strict=True):
        total = x + y + carry
        steps += f"{x}{y}{carry}{total % 10}"
        answer = f"{total % 10}{answer}"
        carry = total // 10
        if carry and forgets is not None and forgets(x, y):
            carry = 0
    return f"{steps}{carry}A{carry}{answer}"


def slip_probability(x: int, y: int) -> float:
    """How likely a corpus writer forgets the carry of x + y: from 0.40 for 5 + 5, rising by 0.07 a unit, to 0.96 for 9 + 9.

    Only where both digits are 5 or more: all other carries are always right in the corpus.
    """
    return 0.40 + 0.07 * (x + y - 10) if x >= 5 and y >= 5 else 0.0
