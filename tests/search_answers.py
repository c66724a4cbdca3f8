"""Scripted writers and readers for tree searches over sums, one character a token: `scripted:tests.search_answers:adder`."""

from tasks.engines.protocol import Request, Sampling
from tasks.engines.uniforms import keys_of, uniforms
from tasks.problems.scratchpad import work


def adder(request: Request, sampling: Sampling) -> str:
    """What is left of the scratchpad. When drawn, it forgets a carry in a third of the columns that have one; greedily never."""
    question, _, written = request.prompt.partition("=")
    draw = uniforms(keys_of([request.request_id]), 0, 8)[0]
    first, second = question.split("+")
    columns = list(zip(map(int, reversed(first)), map(int, reversed(second)), strict=True))
    if "A" in written:
        return written_answer(written, len(columns))[len(written) :]
    done, rest = len(written) // 4, ""
    for place, (x, y) in enumerate(columns[done:]):
        before = (written + rest)[-4:]
        carry = 0
        if before:
            carried = int(before[0]) + int(before[1]) + int(before[2]) > 9
            forgotten = bool(sampling.temperature) and draw[place] < 1 / 3
            carry = int(carried and not forgotten)
        rest += f"{x}{y}{carry}{(x + y + carry) % 10}"
    before = (written + rest)[-4:]
    last = int(int(before[0]) + int(before[1]) + int(before[2]) > 9)
    digits = "".join((written + rest)[3 : 4 * len(columns) : 4])[::-1]
    return f"{rest}{last}A{last}{digits}"


def written_answer(written: str, columns: int) -> str:
    """A scratchpad whose answer was begun, to its end: the answer is what the columns say."""
    last = written[4 * columns]
    return f"{written[: 4 * columns]}{last}A{last}{written[3 : 4 * columns : 4][::-1]}"


def judge(request: Request, sampling: Sampling) -> str:
    """How far a scratchpad has come, or 0.05 once it has left the right way."""
    question, _, written = request.prompt.partition("=")
    right = work(question)
    return f"{len(written) / len(right):.6f}" if right.startswith(written) else "0.05"


def blind(request: Request, sampling: Sampling) -> str:
    """A reader that cannot read what has an 8 in it, and finds all else half good."""
    if "8" in request.prompt.partition("=")[2]:
        raise ValueError("no number for this")
    return "0.5"
