"""The equations that a text writes down, and whether each of them holds.

    >>> written("She rides 15 km/h * 4 h = 60 km, and 60 + 5 = 64.")
    [Equation(text='15 * 4 = 60', holds=True), Equation(text='60 + 5 = 64', holds=False)]

An equation is arithmetic on numbers with `+ - * / x × ÷` and parentheses, up to an equals sign, and a number or more arithmetic after
it; of `3 * 4 = 12 + 2 = 14` the first does not hold. Up to two words after a number are its unit. A decimal may be rounded to
the places it has. Not covered: variables, powers, percentages, and sums in words.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

LONGEST = 20_000
"""Characters of a text that are looked at."""

MOST_TOKENS = 60
"""A side of an equation longer than this is no arithmetic that a person would write down."""

_BULLET = re.compile(r"^[ \t]*(?:[*•+–-]|\d+[.)])[ \t]+", re.MULTILINE)
_TOKEN = re.compile(
    r"(?P<number>[$€£]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)(?![\d^²³%])|(?P<sign>[-+*/×÷·−()])|(?P<equals>=)"
    r"|(?P<word>[A-Za-z]+(?:/[A-Za-z]+)?)|(?P<other>[^\s])"
)
_OPERATORS = {"×": "*", "·": "*", "x": "*", "X": "*", "÷": "/", "−": "-"}


@dataclass(frozen=True, slots=True)
class Equation:
    """Two sides as they were read, and whether they are equal."""

    text: str
    holds: bool


@dataclass(frozen=True, slots=True)
class _Side:
    value: Fraction
    tokens: tuple[str, ...]

    @property
    def places(self) -> int | None:
        """Decimal places of a lone decimal number."""
        return len(self.tokens[0].partition(".")[2]) or None if len(self.tokens) == 1 else None


def written(text: str) -> list[Equation]:
    """Every equation of a text, in order."""
    found: list[Equation] = []
    for line in _BULLET.sub("", text[:LONGEST]).splitlines():
        for run in _runs(line):
            found += _equations(run)
    return found


def _runs(line: str) -> list[list[str]]:
    """Stretches of arithmetic and equals signs, without what stands between them; a unit after a number is left out."""
    tokens = [(str(match.lastgroup), match[0]) for match in _TOKEN.finditer(line)]
    runs: list[list[str]] = [[]]
    words: list[str] = []
    for place, (kind, said) in enumerate(tokens):
        after_number = bool(runs[-1]) and (runs[-1][-1][-1:].isdigit() or runs[-1][-1] == ")")
        following = tokens[place + 1][0] if place + 1 < len(tokens) else ""
        if kind == "word" and said in ("x", "X") and after_number and following == "number":
            kind, said = "sign", "*"
        if kind == "word" and after_number and len(words) < 2:
            words.append(said)
            continue
        if kind in ("word", "other") or (words and kind == "number"):
            runs.append([])
        if kind not in ("word", "other"):
            runs[-1].append(said.lstrip("$€£").replace(",", "") if kind == "number" else _OPERATORS.get(said, said))
        words = []
    return [run for run in runs if "=" in run]


def _equations(run: list[str]) -> list[Equation]:
    sides: list[list[str]] = [[]]
    for token in run:
        if token == "=":
            sides.append([])
        else:
            sides[-1].append(token)
    found: list[Equation] = []
    for place, (before, after) in enumerate(pairwise(sides)):
        left = _suffix(before) if place == 0 else _whole(before)
        right = _prefix(after) if place == len(sides) - 2 else _whole(after)
        if left is None or right is None or max(len(left.tokens), len(right.tokens)) < 3:
            continue
        found.append(Equation(f"{' '.join(left.tokens)} = {' '.join(right.tokens)}", _equal(left, right)))
    return found


def _equal(left: _Side, right: _Side) -> bool:
    if left.value == right.value:
        return True
    places = left.places or right.places
    return places is not None and abs(left.value - right.value) <= Fraction(1, 2 * 10**places)


def _suffix(tokens: list[str]) -> _Side | None:
    """The longest end of a side that is arithmetic."""
    last = tokens[-MOST_TOKENS:]
    return next((side for start in range(len(last)) if (side := _whole(last[start:])) is not None), None)


def _prefix(tokens: list[str]) -> _Side | None:
    """The longest beginning of a side that is arithmetic."""
    first = tokens[:MOST_TOKENS]
    return next((side for end in range(len(first), 0, -1) if (side := _whole(first[:end])) is not None), None)


def _whole(tokens: list[str]) -> _Side | None:
    if not tokens or len(tokens) > MOST_TOKENS:
        return None
    reading = _Reading(tokens)
    try:
        value = reading.sum()
    except (IndexError, ValueError, ZeroDivisionError):
        return None
    return _Side(value, tuple(tokens)) if reading.place == len(tokens) else None


class _Reading:
    """Arithmetic read from left to right, products before sums. Raises ValueError or IndexError for what is none."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.place = tokens, 0

    def sum(self) -> Fraction:
        value = self.product()
        while self._next() in ("+", "-"):
            sign = 1 if self._take() == "+" else -1
            value += sign * self.product()
        return value

    def product(self) -> Fraction:
        value = self.factor()
        while self._next() in ("*", "/"):
            value = value * self.factor() if self._take() == "*" else value / self.factor()
        return value

    def factor(self) -> Fraction:
        token = self._take()
        if token == "-":
            return -self.factor()
        if token == "(":
            value = self.sum()
            if self._take() != ")":
                raise ValueError
            return value
        return Fraction(token)

    def _next(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def _take(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1]
