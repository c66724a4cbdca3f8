"""Instructions with constraints that a program can check: `constrained`, `constrained:2-3`.

    Problem(source='constrained:2-4', split='train', gold='60000', stratum='3 constraints', info={'constraints': {'unit': 'metre', …}, …},
            question='A cyclist rides 15 kilometres an hour for 4 hours. How far does she ride? Give the distance in metres. Use the words
            "speed" and "time" in this order. Write at most 30 words.')

A small calculation with whole numbers, a unit to give the answer in, and one to three constraints more: length, form, words that have to
stand in it (in order) or not, the range of its numbers, its equations. Which of them, in which words and with which limits is drawn
from the problem's place. Each can be met: the worked response that comes with a train problem meets all of them at once.

Every kind of calculation with its unordered pair of numbers {a, b} belongs to one split, by its place in a fixed shuffle: the first
300 are test, the next 300 dev, the other 11,377 train.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from typing import Any

from storage.errors import UserMistake
from storage.records import Problem
from tasks.problems.permutation import Permutation, mix
from tasks.problems.protocol import check_split

LARGEST = 60
PAIRS = (LARGEST - 1) * (LARGEST - 2) // 2
HELD_OUT = 300
FEWEST, MOST = 2, 4


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit by the name that verifiers know it by, as it is written, and how many of it make one of the question's."""

    name: str
    plural: str
    factor: int = 1


@dataclass(frozen=True, slots=True)
class Kind:
    """A calculation in words. `words` are those that a response may have to use, in an order that comes naturally."""

    question: str
    asked: str
    sign: str
    units: tuple[Unit, ...]
    words: tuple[str, str, str]


KILOMETRES = (Unit("kilometre", "kilometres"), Unit("metre", "metres", 1000))
KINDS = (
    Kind("A cyclist rides {a} kilometres an hour for {b} hours. How far does she ride?", "distance", "*", KILOMETRES,
         ("speed", "time", "distance")),
    Kind("A hiker walks {a} kilometres in the morning and {b} kilometres in the afternoon. How far does he walk?", "distance", "+", KILOMETRES,
         ("morning", "afternoon", "day")),
    Kind("A shelf holds {a} sacks of {b} kilograms each. How heavy are the sacks together?", "weight", "*",
         (Unit("kilogram", "kilograms"), Unit("gram", "grams", 1000)), ("shelf", "sack", "weight")),
    Kind("A machine needs {a} minutes for a part. How long does it need for {b} parts?", "time", "*",
         (Unit("minute", "minutes"), Unit("second", "seconds", 60)), ("machine", "part", "minutes")),
    Kind("A ticket costs {a} dollars. What do {b} tickets cost?", "price", "*",
         (Unit("dollar", "dollars"), Unit("cent", "cents", 100)), ("ticket", "price", "money")),
    Kind("A tap fills {a} litres a minute. How much water comes out in {b} minutes?", "volume", "*",
         (Unit("litre", "litres"), Unit("millilitre", "millilitres", 1000)), ("tap", "water", "minutes")),
    Kind("A rope is {b} metres long, and {a} metres are cut off. How long is what is left?", "length", "-",
         (Unit("metre", "metres"), Unit("centimetre", "centimetres", 100)), ("rope", "cut", "rest")),
)  # fmt: skip
ALL = len(KINDS) * PAIRS

BARRED = ("multiply", "therefore", "hence", "roughly", "exactly")
WANTED = ("simple", "careful", "quick", "clear")
OPENINGS = ("First", "Look", "Well", "Now")


@dataclass(frozen=True, slots=True)
class Demand:
    """A constraint with its value, the sentence that makes it, and how a writer plans for it."""

    name: str
    value: object
    sentence: str
    plan: str


def load(options: str) -> "Constrained":
    """`2-4`: instructions with two to four constraints (the default); `3`: with three."""
    fewest, dash, most = (options or f"{FEWEST}-{MOST}").partition("-")
    ends = (fewest, most if dash else fewest)
    if not all(end.isascii() and end.isdigit() for end in ends) or not FEWEST <= int(ends[0]) <= int(ends[1]) <= MOST:
        raise UserMistake(
            f"constrained:{options} does not fit; give a number of constraints, or a range, within {FEWEST}-{MOST}"
        )
    return Constrained(int(ends[0]), int(ends[1]))


class Constrained:
    """The problem set `constrained:<fewest>-<most>`; all of its splits have an end."""

    licence = "CC0-1.0"
    template = "constrained"
    verifier = "each(numeric,instruction)"

    def __init__(self, fewest: int, most: int) -> None:
        self.name = f"constrained:{fewest}-{most}"
        self._fewest, self._most = fewest, most
        self._shuffle = Permutation(ALL, "constrained instructions")
        self._places = {
            "test": range(HELD_OUT),
            "dev": range(HELD_OUT, 2 * HELD_OUT),
            "train": range(2 * HELD_OUT, ALL),
        }

    def size(self, split: str) -> int:
        check_split(split)
        return len(self._places[split])

    def take(self, split: str, start: int, count: int) -> list[Problem]:
        check_split(split)
        return [self._problem(split, place) for place in self._places[split][start : start + count]]

    def corpus(self, start: int, count: int) -> list[Problem]:
        """Train problems with a worked response that meets every constraint."""
        return [self._problem("train", place, worked=True) for place in self._places["train"][start : start + count]]

    def _problem(self, split: str, place: int, worked: bool = False) -> Problem:
        number, which = divmod(self._shuffle[place], len(KINDS))
        draw = Draw(place)
        larger = (isqrt(8 * number + 1) + 1) // 2
        pair = (number - larger * (larger - 1) // 2 + 2, larger + 2)
        kind = KINDS[which]
        a, b = pair if kind.sign == "-" or draw(2) else (pair[1], pair[0])
        unit = kind.units[draw(len(kind.units))]
        calculation = Calculation(kind, a, b, unit)
        demands = demanded(calculation, self._fewest + draw(self._most - self._fewest + 1), draw)
        shown = " ".join(
            [kind.question.format(a=a, b=b), *(demands[turn].sentence for turn in draw.order(len(demands)))]
        )
        info: dict[str, object] = {
            "constraints": {one.name: one.value for one in demands},
            "unit": unit.plural,
        }
        rationale = response(calculation, demands) if worked else None
        return Problem.of(self.name, split, shown, str(calculation.gold), info=info, rationale=rationale,
                          stratum=f"{len(demands)} constraints", licence=self.licence)  # fmt: skip


class Draw:
    """Whole numbers below a bound, in an order that belongs to a place."""

    def __init__(self, place: int) -> None:
        self._state = mix(place)

    def __call__(self, bound: int) -> int:
        self._state = mix(self._state)
        return (self._state >> 20) % bound

    def order(self, count: int) -> list[int]:
        """A shuffle of the first so many numbers."""
        left = list(range(count))
        return [left.pop(self(len(left))) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Calculation:
    """A question's numbers and the steps to the answer in the wanted unit."""

    kind: Kind
    a: int
    b: int
    unit: Unit

    @property
    def first(self) -> int:
        return {"*": self.a * self.b, "+": self.a + self.b, "-": self.b - self.a}[self.kind.sign]

    @property
    def gold(self) -> int:
        return self.first * self.unit.factor

    @property
    def equations(self) -> list[str]:
        left, right = (self.b, self.a) if self.kind.sign == "-" else (self.a, self.b)
        steps = [f"{left} {self.kind.sign} {right} = {self.first}"]
        return steps if self.unit.factor == 1 else [*steps, f"{self.first} * {self.unit.factor} = {self.gold}"]


def demanded(calculation: Calculation, count: int, draw: Draw) -> list[Demand]:
    """The unit, and so many constraints that it makes `count` of them; none that another contradicts."""
    kind, unit = calculation.kind, calculation.unit
    wordings = (f"Give the {kind.asked} in {unit.plural}.", f"State the {kind.asked} in {unit.plural}.")
    found = [Demand("unit", unit.name, wordings[draw(2)], f"the unit is {unit.plural}")]
    names = [POOL[turn] for turn in draw.order(len(POOL))]
    for make in names:
        one = make(calculation, draw)
        if len(found) < count and not any(frozenset((one.name, other.name)) in CONTRADICT for other in found):
            found.append(one)
    return found


CONTRADICT = {
    frozenset(("bullets", "starts_with")),
    frozenset(("bullets", "sentences")),
    frozenset(("contains", "sentences")),
}


def _length(_: Calculation, draw: Draw) -> Demand:
    limit = (25, 30, 40)[draw(3)]
    wordings = (
        f"Write at most {limit} words.",
        f"Use no more than {limit} words.",
        f"Use fewer than {limit + 1} words.",
    )
    return Demand("max_words", limit, wordings[draw(3)], f"few words, {limit} at most")


def _bullets(_: Calculation, draw: Draw) -> Demand:
    count = 2 + draw(2)
    word = {2: "two", 3: "three"}[count]
    wordings = (f"Write exactly {word} bullet points.", f"Use exactly {count} bullet points.")
    return Demand("bullets", count, wordings[draw(2)], f"{word} bullet points before the answer")


def _sentences(_: Calculation, draw: Draw) -> Demand:
    wordings = ("Use at most three sentences.", "Write no more than 3 sentences.")
    return Demand("max_sentences", 3, wordings[draw(2)], "three sentences with the answer")


def _lowercase(_: Calculation, draw: Draw) -> Demand:
    wordings = ("Write everything in lowercase.", "Write only in lower case.")
    return Demand("lowercase", True, wordings[draw(2)], "no capital letter")


def _commas(_: Calculation, draw: Draw) -> Demand:
    wordings = ("Do not use commas.", "Use no commas.")
    return Demand("no_commas", True, wordings[draw(2)], "no comma, also not in a large number")


def _opening(_: Calculation, draw: Draw) -> Demand:
    word = OPENINGS[draw(len(OPENINGS))]
    wordings = (f'Begin with "{word}".', f'Start your response with the word "{word}".')
    return Demand("starts_with", word, wordings[draw(2)], f"{word} comes first")


def _order(calculation: Calculation, draw: Draw) -> Demand:
    words = list(calculation.kind.words[: 2 + draw(2)])
    said = " and ".join(f'"{word}"' for word in words[-2:])
    said = said if len(words) == 2 else f'"{words[0]}", {said}'
    wordings = (f"Use the words {said} in this order.", f"Mention the words {said} in exactly this order.")
    return Demand("in_order", words, wordings[draw(2)], f"{', then '.join(words)}")


def _contains(_: Calculation, draw: Draw) -> Demand:
    word = WANTED[draw(len(WANTED))]
    wordings = (f'Use the word "{word}".', f'Include the word "{word}".')
    return Demand("contains", [word], wordings[draw(2)], f"{word} has to stand in it")


def _excludes(_: Calculation, draw: Draw) -> Demand:
    word = BARRED[draw(len(BARRED))]
    wordings = (f'Do not use the word "{word}".', f'Avoid the word "{word}".')
    return Demand("excludes", [word], wordings[draw(2)], f"{word} must not stand in it")


def _range(calculation: Calculation, draw: Draw) -> Demand:
    most = max(calculation.gold, calculation.a, calculation.b, calculation.unit.factor)
    limit = -(-(most + draw(most) + 1) // 10) * 10
    wordings = (f"Every number has to lie between 1 and {limit}.", f"Write only numbers from 1 to {limit}.")
    return Demand("numbers", {"min": 1, "max": limit}, wordings[draw(2)], f"no number above {limit}")


def _equations(_: Calculation, draw: Draw) -> Demand:
    wordings = ("Show each step as an equation.", "Write down your calculation as an equation.")
    return Demand("equations", True, wordings[draw(2)], "each step as an equation that holds")


POOL: tuple[Callable[[Calculation, Draw], Demand], ...] = (
    _length, _bullets, _sentences, _lowercase, _commas, _opening, _order, _contains, _excludes, _range, _equations,
)  # fmt: skip


def response(calculation: Calculation, demands: list[Demand]) -> str:
    """A plan that treats each constraint in turn, and a response that meets them all."""
    wanted = {one.name: one.value for one in demands}
    ordered: Any = wanted.get("in_order")
    words: list[str] = list(map(str, ordered)) if isinstance(ordered, list) else []
    inner = f"the {' and then the '.join(words)} matter" if words else "this is the calculation"
    opening = f"{wanted['starts_with']} at this and see:" if "starts_with" in wanted else ""
    parts = [" ".join(filter(None, (opening, inner))), *calculation.equations]
    if isinstance(contained := wanted.get("contains"), list):
        parts[0] += f" and it is {contained[0]}"
    count = wanted.get("bullets")
    if isinstance(count, int):
        parts = (
            [*parts[: count - 1], " and ".join(parts[count - 1 :])] if len(parts) >= count else [*parts, "that is all"]
        )
        body = "\n".join(f"- {part}" for part in parts)
    else:
        body = f"{parts[0]}: {' and '.join(parts[1:])}."
        body = body[:1].upper() + body[1:]
    text = f"{body}\nAnswer: {calculation.gold} {calculation.unit.plural}"
    plan = "; ".join(one.plan for one in demands)
    return f"Plan: {plan}.\nResponse: {text.lower() if 'lowercase' in wanted else text}"
