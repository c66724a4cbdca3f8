"""What an instruction demands beside its question, read from its own words, and one judgement for each demand.

    How far is it? Answer in at most 30 words, use the words "speed" and "time" in this order, and give the distance in kilometres.
    →  max_words = 30 (counted) · in_order = speed, time (found) · unit = kilometre (found)

The constraints that a problem's info holds are judged as well, and count where both speak. Each judgement has the constraint's name as its
aspect, and judges what follows a line that begins with `Response:`, if there is one; `instruction:levels=1-3` judges only what is that easy to tell (`constraint_levels`). What the demands mean is as in
`constraints`. Not covered: a demand in words that no pattern here knows is not seen, and nobody says so; a text may pass without meeting it.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from storage.records import Problem
from tasks.verifiers.constraint_levels import LEVELS, level_of, levels_option
from tasks.verifiers.constraints import holds
from tasks.verifiers.protocol import Judgement, Verify
from tasks.verifiers.quantity import UNITS

LONGEST = 20_000
"""Characters of an instruction that are read."""

NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
} | {"a single": 1, "fifteen": 15, "twenty": 20, "thirty": 30, "fifty": 50, "hundred": 100}


@dataclass(frozen=True, slots=True)
class Constraint:
    """One demand: the constraint's name and value, and the words that make it."""

    name: str
    value: Any
    said: str

    @property
    def level(self) -> int:
        return level_of(self.name)


_N = rf"(?P<n>\d{{1,5}}|{'|'.join(NUMBER_WORDS)})"
_WHAT = (
    r"(?P<what>words?|sentences?|paragraphs?|lines?|characters|letters long|bullet points?|bullets?|"
    r"(?:numbered )?(?:list )?items|points)(?![\w-])"
)
_QUOTED = r"[\"“'‘](?P<q{0}>[^\"“”'‘’\n]{{1,80}})[\"”'’]"
_ONE = r"[\"“'‘][^\"“”'‘’\n]{1,80}[\"”'’]"
_LIST = rf"(?P<list>{_ONE}(?:(?:,? (?:and|or) |, ?){_ONE}){{0,20}})"
_NOT = r"\b(?:do not|don't|never|avoid|without|no)\b"

_UPPER = r"(?:no more than|at most|not more than|up to|a maximum of|maximum|max\.?|within|(?:in )?fewer than|less than|under)"
_LOWER = r"(?:at least|no fewer than|no less than|not less than|a minimum of|minimum|more than|over)"
_STRICT = re.compile(r"fewer than|less than|under|more than|over", re.IGNORECASE)
_NEGATED = re.compile(r"\b(?:no|not)\s", re.IGNORECASE)

Read = Callable[[re.Match[str]], tuple[str, Any] | None]


def _number(written: str) -> int:
    return int(written) if written.isdigit() else NUMBER_WORDS[written.lower()]


def _counted(what: str) -> str:
    kinds = {"w": "words", "s": "sentences", "c": "characters", "b": "bullets", "n": "bullets", "i": "bullets"}
    first = what.lower()
    if first.startswith("p"):
        return "paragraphs" if first.startswith("para") else "bullets"
    if first.startswith("l"):
        return "lines" if first.startswith("line") else "characters" if first.startswith("letters") else "bullets"
    return kinds[first[0]]


def _bound(match: re.Match[str]) -> tuple[str, Any] | None:
    limit, said = _number(match["n"]), match["bound"]
    upper = re.fullmatch(_UPPER, said, re.IGNORECASE) is not None
    strict = _STRICT.search(said) is not None and _NEGATED.match(said) is None
    value = limit + (0 if not strict else -1 if upper else 1)
    return (f"{'max' if upper else 'min'}_{_counted(match['what'])}", value)


def _listed(match: re.Match[str]) -> list[str]:
    return [one.strip() for one in re.findall(r"[\"“'‘]([^\"“”'‘’\n]{1,80})[\"”'’]", match["list"]) if one.strip()]


def _unit(match: re.Match[str]) -> tuple[str, Any] | None:
    found = next((name for name, ways in UNITS.items() if match["unit"].lower() in ways), None)
    return ("unit", found) if found else None


_PATTERNS: list[tuple[str, Read]] = [
    (
        rf"between {_N} and (?P<to>\d{{1,5}}|{'|'.join(NUMBER_WORDS)}) {_WHAT}",
        lambda m: (f"between_{_counted(m['what'])}", (_number(m["n"]), _number(m["to"]))),
    ),
    (rf"\b(?P<bound>{_UPPER}|{_LOWER}) {_N} {_WHAT}", _bound),
    (rf"\b{_N} {_WHAT} or (?P<more>more|fewer|less)\b",
     lambda m: (f"{'min' if m['more'].lower() == 'more' else 'max'}_{_counted(m['what'])}", _number(m["n"]))),
    (rf"\b(?:exactly|precisely|in|with|as|using|of) (?:exactly )?{_N} {_WHAT}", lambda m: (_counted(m["what"]), _number(m["n"]))),
    (r"\b(?:in|using|with)(?: only| all)? (?:lower ?case|lower-case|small letters)|\ball (?:lower ?case|lower-case)\b|\bno capital letters",
     lambda _: ("lowercase", True)),
    (r"\b(?:in|using|with)(?: only| all)? (?:upper ?case|upper-case|capital letters|capitals)|\ball (?:upper ?case|upper-case|capital letters|caps)\b",
     lambda _: ("uppercase", True)),
    (rf"{_NOT}(?: (?:use|using|any|a))* commas?\b", lambda _: ("no_commas", True)),
    (r"\b(?:in|as|into) (?:a |an |one )?(?:valid )?JSON\b", lambda _: ("json", True)),
    (rf"\b(?:start|begin)(?: your \w+| the \w+)? with (?:the (?:word|words|phrase) )?{_QUOTED.format(1)}", lambda m: ("starts_with", m["q1"])),
    (rf"\b(?:end|finish|close)(?: your \w+| the \w+)? with (?:the (?:word|words|phrase|sentence) )?{_QUOTED.format(1)}",
     lambda m: ("ends_with", m["q1"])),
    (rf"(?:words?|phrases?|terms?|keywords?) {_LIST},? in (?:this|that|the given|exactly this) order", lambda m: ("in_order", _listed(m))),
    (rf"{_NOT}(?: (?:use|using|mention|mentioning|write|writing|include|including|the))* (?:words?|phrases?|terms?|keywords?) {_LIST}",
     lambda m: ("excludes", _listed(m))),
    (rf"\b(?:use|using|include|including|contain|containing|mention|mentioning) (?:both |all of )?(?:the )?(?:words?|phrases?|terms?|keywords?) {_LIST}",
     lambda m: ("contains", _listed(m))),
    (r"\bnumbers?\b[^.;\n]{0,40}?\b(?:between|from) (?P<low>-?\d[\d,]*(?:\.\d+)?) (?:and|to) (?P<high>-?\d[\d,]*(?:\.\d+)?)",
     lambda m: ("numbers", {"min": _value(m["low"]), "max": _value(m["high"])})),
    (r"\bno numbers? (?:above|over|larger than|greater than) (?P<high>-?\d[\d,]*(?:\.\d+)?)", lambda m: ("numbers", {"max": _value(m["high"])})),
    (r"\b(?:answer|result|distance|length|height|width|time|duration|price|cost|amount|weight|mass|volume|it|total)s? (?:must be |should be )?"
     r"(?:given |stated |written |expressed )?in (?P<unit>[A-Za-z]+)\b(?! (?:person|language|place))", _unit),
    (r"\b(?:each|every|all(?: of)?(?: the)?) (?:intermediate )?(?:steps?|calculations?|equations?)\b[^.;\n]{0,40}\b(?:equations?|right|correct|hold)\b"
     r"|\b(?:show|write)(?: down)?(?: each| every| your| the| all)?(?: intermediate)? (?:steps?|calculations?|working) as (?:an )?equations?\b",
     lambda _: ("equations", True)),
]  # fmt: skip
_COMPILED = [(re.compile(pattern, re.IGNORECASE), read) for pattern, read in _PATTERNS]


def _value(written: str) -> int | float:
    plain = written.replace(",", "")
    return float(plain) if "." in plain else int(plain)


@lru_cache(maxsize=1000)
def pulled(instruction: str) -> tuple[Constraint, ...]:
    """The constraints that an instruction states, in the order of its words; of two readings of the same words the first counts."""
    found: dict[str, tuple[int, Constraint]] = {}
    taken: list[tuple[int, int]] = []
    for pattern, read in _COMPILED:
        for match in pattern.finditer(instruction[:LONGEST]):
            if any(start < match.end() and match.start() < end for start, end in taken):
                continue
            demanded = read(match)
            if demanded is None:
                continue
            taken.append(match.span())
            name, value = demanded
            parts = {name: value}
            if name.startswith("between_"):
                counted = name.removeprefix("between_")
                parts = {f"min_{counted}": value[0], f"max_{counted}": value[1]}
            for place, (one, limit) in enumerate(parts.items()):
                bound = {"min": "at least", "max": "at most"}[one[:3]] if len(parts) > 1 else ""
                said = f"{bound} {limit} {match['what']}" if bound else " ".join(match[0].split())
                found.setdefault(one, (2 * match.start() + place, Constraint(one, limit, said)))
    return tuple(constraint for _, constraint in sorted(found.values(), key=lambda one: one[0]))


def constraints_of(problem: Problem) -> list[Constraint]:
    """What a problem's instruction states and what its info adds; raises ValueError for an info that holds something else."""
    own: Any = json.loads(problem.info).get("constraints", {})
    if not isinstance(own, dict):
        raise ValueError(f"the problem's constraints are a {type(own).__name__}; give an object")
    by_name = {one.name: one for one in pulled(problem.question)}
    for name, value in own.items():
        said = (
            by_name[name].said
            if name in by_name
            else f"{name.replace('_', ' ')}: {json.dumps(value, ensure_ascii=False)}"
        )
        by_name[name] = Constraint(name, value, said)
    return list(by_name.values())


def verify(text: str, problem: Problem) -> list[Judgement]:
    """One judgement a constraint, in the order that the instruction states them; undecided where none was found."""
    return judged(text, problem, frozenset(LEVELS))


def configured(options: str) -> Verify:
    """The verifier of some levels: `levels=1-3`. Raises UserMistake for another option."""
    levels = levels_option("instruction", options)
    return lambda text, problem: judged(text, problem, levels)


def judged(text: str, problem: Problem, levels: frozenset[int]) -> list[Judgement]:
    """The judgements on the constraints of these levels."""
    try:
        constraints = constraints_of(problem)
    except ValueError as mistake:
        return [Judgement(None, reason=str(mistake))]
    if not constraints:
        return [Judgement(None, reason="no constraint was found in the instruction")]
    asked = [one for one in constraints if one.level in levels]
    if not asked:
        return [Judgement(True, reason="no constraint of these levels", aspect="none")]
    response = response_of(text)
    return [_judged(response, one) for one in asked]


def response_of(text: str) -> str:
    """What follows the last `Response:` that begins a line, or all of a text that has none: what was planned before is not judged."""
    return re.split(r"^[ \t]*Response:[ \t]*", text, flags=re.MULTILINE)[-1]


def _judged(text: str, constraint: Constraint) -> Judgement:
    try:
        met = holds(text, constraint.name, constraint.value)
    except (TypeError, ValueError, re.error) as mistake:
        why = f"the constraint {constraint.name} cannot be checked: {mistake}"
        return Judgement(None, reason=why[:400], aspect=constraint.name)
    return Judgement(met, reason=None if met else f"not met: {constraint.said}"[:400], aspect=constraint.name)
