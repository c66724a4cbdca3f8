"""The equations of a written sum, each by itself: does every column say what it says rightly?

    00628+00579  →  8907 2710 6512 0011 0000 0 A…     (digit, digit, carry in, digit of the sum; then the last carry)

Three constraints, easiest to judge first: `form` (columns of four digits, a last carry, an answer), `operands` (the
columns hold the question's digits) and `equations` (digit + digit + carry = ten times the next carry + digit of the sum,
in every column, from a first carry of 0). Neither the gold answer nor the right scratchpad is looked at, so this can decide what is
kept while `sum_steps`, which compares with the right scratchpad, measures. `sum_equations:levels=1-2` judges only what is that
easy to tell.
"""

import re

from storage.errors import UserMistake
from storage.records import Problem
from tasks.verifiers.constraint_levels import LEVELS, level_of, levels_option
from tasks.verifiers.protocol import Judgement, Verify

FORM, OPERANDS, EQUATIONS = "form", "operands", "equations"
ASPECTS = (FORM, OPERANDS, EQUATIONS)

_WRITTEN = re.compile(r"([0-9]*)A([0-9]+)\s*\Z")


def verify(text: str, problem: Problem) -> list[Judgement]:
    """One judgement a constraint; undecided where the question is no sum, or the form leaves nothing to read."""
    return judged(text, problem, frozenset(LEVELS))


def configured(options: str) -> Verify:
    """The verifier of some levels: `levels=1-2`. Raises UserMistake for another option, or for levels without a constraint."""
    levels = levels_option("sum_equations", options)
    if not any(level_of(aspect) in levels for aspect in ASPECTS):
        raise UserMistake(f"sum_equations:{options} judges nothing; its constraints have the levels 1, 2 and 4")
    return lambda text, problem: judged(text, problem, levels)


def judged(text: str, problem: Problem, levels: frozenset[int]) -> list[Judgement]:
    """The judgements on the constraints of these levels."""
    return [one for one in _judgements(text, problem) if level_of(one.aspect) in levels]


def _judgements(text: str, problem: Problem) -> list[Judgement]:
    first, _, second = problem.question.partition("+")
    if len(first) != len(second) or not (first + second).isascii() or not (first + second).isdigit():
        why = f"{problem.question!r:.80} is not a sum of two numbers"
        return [Judgement(None, reason=why, aspect=name) for name in ASPECTS]
    written = _WRITTEN.fullmatch(text)
    width = len(first)
    if written is None or len(written[1]) != 4 * width + 1:
        why = f"not {width} columns, a carry and an answer"
        unread = [
            Judgement(None, reason="the form leaves nothing to read", aspect=name) for name in (OPERANDS, EQUATIONS)
        ]
        return [Judgement(False, reason=why, aspect=FORM), *unread]
    columns = [tuple(map(int, written[1][place : place + 4])) for place in range(0, 4 * width, 4)]
    carries = [column[2] for column in columns] + [int(written[1][-1])]
    asked = list(zip(map(int, reversed(first)), map(int, reversed(second)), strict=True))
    copied = [column[:2] == digits for column, digits in zip(columns, asked, strict=True)]
    held = [
        x + y + carry == 10 * after + digit and (place > 0 or carry == 0)
        for place, ((x, y, carry, digit), after) in enumerate(zip(columns, carries[1:], strict=True))
    ]
    return [Judgement(True, aspect=FORM), _every(copied, OPERANDS, columns), _every(held, EQUATIONS, columns)]


def _every(sound: list[bool], aspect: str, columns: list[tuple[int, ...]]) -> Judgement:
    score = sum(sound) / len(sound)
    if all(sound):
        return Judgement(True, score=score, aspect=aspect)
    first = sound.index(False)
    said = "".join(map(str, columns[first]))
    return Judgement(False, score=score, reason=f"column {first + 1} is {said}", aspect=aspect)
