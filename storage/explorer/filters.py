"""What a search is narrowed by, as it stands in an address: every field is a parameter of the same name."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self
from urllib.parse import urlencode

from storage.errors import UserMistake
from storage.identity import bare

VERDICTS = ("passed", "rejected", "undecided", "none")


@dataclass(frozen=True, slots=True)
class Filter:
    """Empty fields narrow nothing.

    `text` is searched for in attempts (or, with `within`, in questions); with a capital letter in it, upper and lower case
    differ. `id`: an id or its beginning. `origin`: the name of a step for attempts, an origin for examples.
    """

    text: str = ""
    within: str = ""
    id: str = ""
    run: str = ""
    iteration: int | None = None
    origin: str = ""
    verdict: str = ""
    reason: str | None = None
    stratum: str = ""
    checkpoint: str = ""
    problem: str = ""
    prompt: str = ""

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Self:
        """From an address. Raises UserMistake for a value that cannot be."""
        given: dict[str, Any] = {
            one.name: parameters[one.name].strip() if one.name != "text" else parameters["text"]
            for one in fields(cls) if parameters.get(one.name)
        }  # fmt: skip
        if "iteration" in given:
            if not given["iteration"].isdecimal() or len(given["iteration"]) > 9:
                raise UserMistake(f"the iteration {given['iteration'][:40]!r} is no number")
            given["iteration"] = int(given["iteration"])
        if given.get("verdict", "passed") not in VERDICTS:
            raise UserMistake(f"no verdict {given['verdict'][:40]!r}; there are: {', '.join(VERDICTS)}")
        for name in ("id", "run", "checkpoint", "problem", "prompt"):
            if name in given:
                digits = bare(given[name])
                if not digits or len(digits) > 32 or set(digits) - set("0123456789abcdef"):
                    raise UserMistake(f"{given[name][:60]!r} is no id, nor the beginning of one")
                given[name] = digits
        return cls(**given)

    def address(self, **changed: object) -> str:
        """The part of an address behind the question mark, with some fields changed."""
        values = {one.name: getattr(self, one.name) for one in fields(self)} | changed
        return urlencode({name: value for name, value in values.items() if value not in (None, "")})

    @property
    def narrowed(self) -> int:
        """How many fields say something."""
        return sum(getattr(self, one.name) not in (None, "") for one in fields(self) if one.name != "within")


@dataclass(frozen=True, slots=True)
class Condition:
    """A piece of SQL with what its question marks stand for."""

    sql: str
    given: tuple[Any, ...] = ()


def said(column: str, text: str) -> Condition:
    """That a column has the text in it; without a capital letter in it, whatever the case."""
    if text == text.lower():
        return Condition(f"contains(lower({column}), ?)", (text,))
    return Condition(f"contains({column}, ?)", (text,))


def begins(column: str, digits: str) -> Condition:
    """That an id is this one, or begins with it."""
    if len(digits) == 32:
        return Condition(f"{column} = ?::uuid", (digits,))
    return Condition(f"{column} between ?::uuid and ?::uuid", (digits.ljust(32, "0"), digits.ljust(32, "f")))


def all_of(conditions: list[Condition]) -> Condition:
    """All of them."""
    return Condition(
        " and ".join(one.sql for one in conditions) or "true", tuple(v for one in conditions for v in one.given)
    )


def whose(table: str, condition: str) -> str:
    """The SQL for the rows of a table that a condition on narrow columns chooses.

    Said so, DuckDB finds the row numbers first and unpacks the long texts of these rows alone; said directly, of all.
    """
    return f"rowid in (select rowid from {table} where {condition})"
