"""What an instruction demands of a text and a program can count: its length, its words, its form.

    {"question": "Name three fruits.", "info": {"constraints": {"bullets": 3, "max_words": 20, "excludes": ["durian"]}}}

The problem's info holds the constraints; the ref can add some for every problem (`constraints:max_words=200,json=true`; `|` parts the words of
one). Numbers are looked at too: the range they lie in, the unit of the answer, the equations that are written down. All have to be met; `score` is the share that is, and the reason names each that is not. Words are runs of letters and
digits; a sentence ends at `.`, `!` or `?` before white space; a phrase is found as whole words in either case. Nothing is said
about what the text means. A pattern of a user's may run for ever: this verifier belongs in a worker process.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from storage.errors import UserMistake
from storage.records import Problem
from tasks.verifiers.final_answer import decide
from tasks.verifiers.numeric import another_number, number_in
from tasks.verifiers.protocol import Judgement, Verify
from tasks.verifiers.quantity import UNITS, Quantity
from tasks.verifiers.written_equations import written

_BULLET = re.compile(r"^[ \t]*(?:[*•-](?![*-])[ \t]*\S|\d+[.)][ \t]+\S)", re.MULTILINE)


def words(text: str) -> int:
    return len(re.findall(r"\w+", text))


def sentences(text: str) -> int:
    return sum(bool(re.search(r"\w", one)) for one in re.split(r"(?<=[.!?])[\"')\]]*(?:\s+|$)", text))


def paragraphs(text: str) -> int:
    return sum(bool(one.strip()) for one in re.split(r"\n[ \t]*\n", text))


def lines(text: str) -> int:
    return sum(bool(one.strip()) for one in text.splitlines())


def bullets(text: str) -> int:
    return len(_BULLET.findall(text))


COUNTS: dict[str, Callable[[str], int]] = {
    "words": words,
    "characters": lambda text: len(text.strip()),
    "sentences": sentences,
    "paragraphs": paragraphs,
    "lines": lines,
    "bullets": bullets,
}
"""What is counted: `words` is an exact number, `min_words` and `max_words` are bounds."""


def occurrences(text: str, phrase: str) -> int:
    """How often a phrase stands in a text, as whole words, in either case, with any white space between its words."""
    parts = r"\s+".join(map(re.escape, phrase.split()))
    return len(re.findall(rf"(?<!\w){parts}(?!\w)", text, re.IGNORECASE)) if parts else 0


def is_json(text: str) -> bool:
    """Whether a text is one JSON document, alone or as one fenced block."""
    fenced = re.fullmatch(r"\s*```(?:json)?[ \t]*\n(.*)\n[ \t]*```\s*", text, re.DOTALL | re.IGNORECASE)
    try:
        json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return False
    return True


def follow(text: str, phrases: list[str]) -> bool:
    """Whether phrases stand in a text in this order, each after the one before it."""
    place = 0
    for phrase in phrases:
        parts = r"\s+".join(map(re.escape, phrase.split()))
        found = re.compile(rf"(?<!\w){parts}(?!\w)", re.IGNORECASE).search(text, place)
        if found is None:
            return False
        place = found.end()
    return True


def numbers(text: str) -> list[float]:
    """Every number of a text but those that count the items of a list."""
    plain = re.sub(r"^[ \t]*\d+[.)][ \t]+", "", text, flags=re.MULTILINE)
    found = re.findall(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?", plain)
    return [float(one.replace(",", "")) for one in found]


def unit_of(text: str) -> str:
    """The unit of the answer that a text gives in the end; '' where it gives none, or one without a known unit."""
    final = decide(text, number_in, another_number, "", same=Quantity.equals)
    return final.value.unit if final.value is not None else ""


def sound(text: str) -> bool:
    """Whether a text writes at least one equation, and all that it writes hold."""
    found = written(text)
    return bool(found) and all(one.holds for one in found)


FORMS: dict[str, Callable[[str], bool]] = {
    "json": is_json,
    "lowercase": lambda text: text == text.lower() and any(c.isalpha() for c in text),
    "uppercase": lambda text: text == text.upper() and any(c.isalpha() for c in text),
    "no_commas": lambda text: "," not in text,
}
"""What a text is as a whole, where the constraint is true."""

WORKED: dict[str, Callable[[str], bool]] = {"equations": sound}
"""What is followed step by step, where the constraint is true."""

PHRASES: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda text, phrase: occurrences(text, phrase) > 0,
    "excludes": lambda text, phrase: occurrences(text, phrase) == 0,
    "starts_with": lambda text, phrase: text.strip().casefold().startswith(phrase.casefold()),
    "ends_with": lambda text, phrase: text.strip().casefold().endswith(phrase.casefold()),
    "matches": lambda text, phrase: re.search(phrase, text) is not None,
}
"""What holds between a text and each of some phrases (for `matches`, regular expressions)."""

NAMES = sorted(
    [
        *COUNTS,
        *(f"{bound}_{name}" for name in COUNTS for bound in ("min", "max")),
        *FORMS,
        *WORKED,
        *PHRASES,
        "at_least",
        "at_most",
        "in_order",
        "numbers",
        "unit",
    ]
)


NEEDS_AN_OBJECT = ("at_least", "at_most", "numbers", "unit")
"""Constraints that an option cannot give."""


def verify(text: str, problem: Problem) -> Judgement:
    """Passes when every constraint of the problem is met; undecided where it has none, or one that is unknown."""
    return met(text, problem, {})


def configured(options: str) -> Verify:
    """The verifier with constraints for every problem. Raises UserMistake for an unknown one."""
    everywhere: dict[str, Any] = {}
    for option in options.split(","):
        name, equals, value = option.partition("=")
        read = (
            _count
            if name.removeprefix("min_").removeprefix("max_") in COUNTS
            else _flag
            if name in FORMS or name in WORKED
            else _phrases
        )
        if not equals or name not in NAMES or name in NEEDS_AN_OBJECT or (given := read(value)) is None:
            raise UserMistake(f"constraints has no option {option!r}; it has: {', '.join(NAMES)}, each as name=value")
        everywhere[name] = given
    return lambda text, problem: met(text, problem, everywhere)


def met(text: str, problem: Problem, everywhere: Mapping[str, Any]) -> Judgement:
    """The judgement on the constraints of the problem and of the ref."""
    own = json.loads(problem.info).get("constraints", {})
    if not isinstance(own, dict):
        return Judgement(None, reason=f"the problem's constraints are a {type(own).__name__}; give an object")
    wanted = [*everywhere.items(), *own.items()]
    if not wanted:
        return Judgement(None, reason="the problem has no constraints")
    outcomes: dict[str, bool] = {}
    for name, value in wanted:
        try:
            outcomes[f"{name}={_said(value)}"] = holds(text, name, value)
        except (TypeError, ValueError, re.error) as mistake:
            return Judgement(None, reason=f"the constraint {name}={_said(value)} cannot be checked: {mistake}")
    unmet = [name for name, outcome in outcomes.items() if not outcome]
    score = 1 - len(unmet) / len(outcomes)
    return Judgement(not unmet, score=score, reason=f"not met: {', '.join(unmet)}"[:400] if unmet else None)


def holds(text: str, name: str, value: Any) -> bool:
    """Whether one constraint is met. Raises ValueError for an unknown one, TypeError for a value that does not fit it."""
    bound, _, counted = name.partition("_")
    if name in COUNTS or (bound in ("min", "max") and counted in COUNTS):
        limit = _number(value)
        if name in COUNTS:
            return COUNTS[name](text) == limit
        return COUNTS[counted](text) >= limit if bound == "min" else COUNTS[counted](text) <= limit
    if name in FORMS or name in WORKED:
        if not isinstance(value, bool):
            raise TypeError("give true or false")
        return not value or (FORMS | WORKED)[name](text)
    if name == "in_order":
        if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
            raise TypeError("give a list of texts")
        return follow(text, value)
    if name == "numbers":
        if not isinstance(value, dict) or value.keys() - {"min", "max"} or not value:
            raise TypeError("give an object with min, max or both")
        low, high = value.get("min", float("-inf")), value.get("max", float("inf"))
        return all(low <= one <= high for one in numbers(text))
    if name == "unit":
        if value not in UNITS:
            raise TypeError(f"give one of: {', '.join(UNITS)}")
        return unit_of(text) == value
    if name in PHRASES:
        phrases = [value] if isinstance(value, str) else value
        if not isinstance(phrases, list) or not phrases or not all(isinstance(one, str) and one for one in phrases):
            raise TypeError("give a text or a list of texts")
        hold = any if name in ("starts_with", "ends_with") else all
        return hold(PHRASES[name](text, one) for one in phrases)
    if name in ("at_least", "at_most"):
        if not isinstance(value, dict) or not value:
            raise TypeError("give an object from phrase to number")
        found = {phrase: occurrences(text, phrase) - _number(limit) for phrase, limit in value.items()}
        return (
            all(over >= 0 for over in found.values())
            if name == "at_least"
            else all(over <= 0 for over in found.values())
        )
    raise ValueError(f"there is no such constraint; there are: {', '.join(NAMES)}")


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError("give a whole number")
    return value


def _count(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdigit() else None


def _flag(value: str) -> bool | None:
    return {"true": True, "false": False}.get(value.lower())


def _phrases(value: str) -> list[str] | None:
    return [one for one in value.split("|") if one] or None


def _said(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:60]
