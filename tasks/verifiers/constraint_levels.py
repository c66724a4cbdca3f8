"""How hard it is to tell whether a text meets a constraint: four levels, easiest first.

    1  counted    its length and form: words, sentences, bullets, case, JSON
    2  found      what stands in it, and in which order: words, phrases, the unit of the answer
    3  read       a value has to be understood: the answer, numbers within a range
    4  followed   every step has to be worked through again: the equations

CARE-STaR (Li et al. 2025) assigns constraints to levels by that difficulty; these four are ours, since only its abstract was at hand.
"""

from storage.errors import UserMistake
from tasks.verifiers.constraints import COUNTS, FORMS

COUNTED, FOUND, READ, FOLLOWED = 1, 2, 3, 4
LEVELS = {COUNTED: "counted", FOUND: "found", READ: "read", FOLLOWED: "followed"}

_BY_NAME = {
    **dict.fromkeys(COUNTS, COUNTED),
    **dict.fromkeys(FORMS, COUNTED),
    **dict.fromkeys(("starts_with", "ends_with"), COUNTED),
    **dict.fromkeys(("contains", "excludes", "matches", "in_order", "at_least", "at_most", "unit"), FOUND),
    "numbers": READ,
    "form": COUNTED,
    "operands": FOUND,
    "equations": FOLLOWED,
    "steps": FOLLOWED,
}


def level_of(aspect: str) -> int:
    """The level of an aspect: of a constraint by its name, of anything else (an answer, a user's own) as something to be read."""
    name = aspect.partition(":")[0]
    return _BY_NAME.get(name, _BY_NAME.get(name.removeprefix("min_").removeprefix("max_"), READ))


def levels_of(text: str) -> frozenset[int]:
    """`2`, `1-3`: levels as an option names them. Raises UserMistake for others."""
    first, dash, last = text.partition("-")
    ends = [first, last if dash else first]
    if not all(end.isascii() and end.isdigit() and int(end) in LEVELS for end in ends) or int(ends[0]) > int(ends[1]):
        known = ", ".join(f"{level} ({name})" for level, name in LEVELS.items())
        raise UserMistake(f"levels={text} does not fit; give one level or a range such as 1-3; there are: {known}")
    return frozenset(range(int(ends[0]), int(ends[1]) + 1))


def levels_option(name: str, options: str) -> frozenset[int]:
    """The levels of a verifier's one option, `levels=1-3`. Raises UserMistake for another."""
    option, _, value = options.partition("=")
    if option != "levels":
        raise UserMistake(f"{name} has no option {options!r}; it has: levels, such as levels=1-3")
    return levels_of(value)
