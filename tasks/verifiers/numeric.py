"""A number as the final answer: equal exactly, or within what the ref allows.

    numeric                    the same number, however it is written: 1,080 = 1080.00 = $1080
    numeric:relative=0.01      within one per cent of the gold answer
    numeric:absolute=0.5       within a half of it

    >>> verify("16 - 3 - 4 = 9, and 9 * 2 = 18. #### 18", problem)      # problem.gold == "18"
    Judgement(passed=True, answer='18')

What counts as the final answer: see `final_answer`; what is read as a number: see `quantity`.
"""

import re
from fractions import Fraction

from storage.errors import UserMistake
from storage.records import Problem
from tasks.verifiers.final_answer import CONDITIONAL, HEDGED, cleaned, decide
from tasks.verifiers.protocol import Judgement, Verify
from tasks.verifiers.quantity import Quantity, is_unit, leading, read, simplified

_NUMBERS = re.compile(r"(?<![\w.])[-+]?[$€£]?\d[\d,]*(?:\.\d+)?(?:\s*/\s*\d+)?(?![\d^_²³]|\.\d)\s*%?")
_GOES_ON = re.compile(r"\s*(?:or|and|to|but|[,/:*x×+^=–-]|\\times|\\cdot|\\pm|±)\s*[-+$€£]?\d", re.IGNORECASE)
_OFFERED = re.compile(r"\b(?:or|either|and)\s+[-+$€£]?\d", re.IGNORECASE)


def verify(text: str, problem: Problem) -> Judgement:
    """Passes when the final answer is the gold number exactly; undecided without a gold number."""
    return within(text, problem, Fraction(0), Fraction(0))


def configured(options: str) -> Verify:
    """The verifier with a tolerance. Raises UserMistake for another option, or a value that is no number."""
    allowed = {"relative": Fraction(0), "absolute": Fraction(0)}
    for option in options.split(","):
        name, _, value = option.partition("=")
        try:
            if name not in allowed or Fraction(value) < 0:
                raise ValueError
            allowed[name] = Fraction(value)
        except (ValueError, ZeroDivisionError):
            raise UserMistake(
                f"numeric has no option {option!r}; it has: relative, absolute, each as name=number, such as relative=0.01"
            ) from None
    return lambda text, problem: within(text, problem, allowed["relative"], allowed["absolute"])


def within(text: str, problem: Problem, relative: Fraction, absolute: Fraction) -> Judgement:
    """Passes when the final answer is no further from the gold number than allowed."""
    if problem.gold is None:
        return Judgement(None, reason="the problem has no gold answer")
    gold = read(problem.gold, letters=True)
    if gold is None:
        return Judgement(None, reason=f"the gold answer {problem.gold!r:.60} is no number")
    final = decide(text, number_in, another_number, problem.question, same=Quantity.equals)
    if final.value is None:
        return Judgement(False, reason=final.why)
    answer = cleaned(final.written or "")[:200]
    if gold.equals(final.value):
        return Judgement(True, answer=answer)
    allowed = max(absolute, relative * abs(gold.value))
    same_kind = gold.percent == final.value.percent and (not gold.unit or final.value.unit in ("", gold.unit))
    if allowed and same_kind and abs(final.value.value - gold.value) <= allowed:
        return Judgement(True, answer=answer)
    return Judgement(False, answer=answer, reason="another number")


def number_in(words: str) -> Quantity | None:
    """The one number that words state; None where they state none, or several."""
    words = cleaned(unwrapped(cleaned(words)))
    if (whole := read(words, letters=True)) is not None:
        return whole
    if CONDITIONAL.search(words):
        return None
    parts = re.split(r"(?<![<>!:=\\])=(?!=)", words)
    if len(parts) > 1 and not re.search(r",|;|\band\b|\bor\b", "".join(parts[1:-1])):
        return number_in(parts[-1])
    first = leading(words)
    if first is not None:
        glued = first.rest[:1].isalnum() or first.rest[:1] in "_^\\({["
        if (
            _GOES_ON.match(first.rest)
            or (glued and not is_unit(first.rest, letters=True))
            or _OFFERED.search(first.rest)
        ):
            return None
        return first.quantity
    plain = simplified(words)
    found = {one for one in (read(match[0]) for match in _NUMBERS.finditer(plain)) if one is not None}
    return found.pop() if len(found) == 1 and not HEDGED.search(plain) else None


def another_number(words: str, value: Quantity) -> bool:
    """Whether words name a number that is not this one last."""
    found = [read(match[0]) for match in _NUMBERS.finditer(simplified(words))]
    return bool(found) and (found[-1] is None or found[-1].value != value.value)


def unwrapped(words: str) -> str:
    """Words without the formula signs around them, where they are one formula."""
    for opening, shut in (("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("$", "$"), ("(", ")"), ("[", "]")):
        inner = words[len(opening) : -len(shut)]
        if (
            len(words) > len(opening + shut)
            and words.startswith(opening)
            and words.endswith(shut)
            and shut not in inner
        ):
            return inner
    return words
