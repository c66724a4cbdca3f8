"""Labelled cases: a problem, a text, and what a person says of it, from a table or from labels in a home.

    {"question": "What is 9 * 2?", "gold": "18", "text": "Answer: 18", "passed": true, "why": "stated", "source": "GSM8K test, row 3 (MIT)"}

`passed` null: nobody can say, so the verifier should be undecided. `info` is the problem's; `repeat` [text, n] stands n times before the text;
`reply` is what a judge's model said. `known`: why the verifier is known to say otherwise. `hangs`: undecided is right as well.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.errors import UserMistake
from storage.identity import content_id
from storage.records import Attempt, Problem

TABLES = Path(__file__).resolve().parents[1] / "tests" / "cases"
"""Where a checkout keeps the tables of its own verifiers."""


@dataclass(frozen=True, slots=True)
class Case:
    """One labelled case; `said` is the text without what is repeated before it."""

    gold: str | None
    said: str
    passed: bool | None
    why: str = ""
    question: str = "?"
    info: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    known: str = ""
    hangs: bool = False
    score: float | None = None
    reply: str | None = None
    repeat: tuple[str, int] = ("", 0)

    def text(self) -> str:
        return self.repeat[0] * self.repeat[1] + self.said

    def problem(self) -> Problem:
        return Problem.of("case", "test", self.question, self.gold, info=self.info)

    def attempt(self) -> Attempt:
        """The text as an attempt at the problem."""
        problem_id, text = self.problem().problem_id, self.text()
        identity = content_id("case", problem=problem_id, text=text, reply=self.reply)
        return Attempt(identity, identity, problem_id, identity, identity, "case", "{}", 0, 0, text, "stop", 1, 1)


def case_table(name: str) -> Path:
    """The table of one of starloop's own verifiers. Raises UserMistake where the checkout has none."""
    path = TABLES / f"{name}.json"
    if not path.is_file():
        known = sorted(table.stem for table in TABLES.glob("*.json")) if TABLES.is_dir() else []
        there = f"there are tables for: {', '.join(known)}" if known else "an installed starloop carries no tables"
        raise UserMistake(f"no table of labelled cases for {name!r}; {there}; give one of your own with --cases FILE")
    return path


def cases_of(path: Path) -> list[Case]:
    """The cases of a table. Raises UserMistake, with the number of the case, for one that is none."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as mistake:
        raise UserMistake(f"{path} cannot be read as a table of cases: {mistake}") from mistake
    if not isinstance(rows, list) or not rows:
        raise UserMistake(f"{path} holds no cases; give a JSON list of objects with text, gold and passed")
    return [_case(f"{path} case {number}", row) for number, row in enumerate(rows, start=1)]


def _case(where: str, row: Any) -> Case:
    if not isinstance(row, dict):
        raise UserMistake(f"{where} is a {type(row).__name__}; give an object")
    named = {"said" if name == "text" else name: value for name, value in row.items()}
    slots = list(Case.__slots__)
    if unknown := sorted(named.keys() - set(slots)):
        raise UserMistake(f"{where} has a field {unknown[0]!r}; there are: text, {', '.join(slots[2:])}, gold")
    kinds: dict[str, Any] = {"said": str, "gold": str | None, "question": str, "info": dict, "reply": str | None}
    for name, kind in kinds.items():
        if name in named and not isinstance(named[name], kind):
            raise UserMistake(f"{where}: {name} is a {type(named[name]).__name__}, which does not fit")
    if "said" not in named or "passed" not in named or not isinstance(named["passed"], bool | None):
        raise UserMistake(f"{where} needs a text, and passed as true, false or null")
    if "repeat" in named:
        named["repeat"] = (str(named["repeat"][0]), int(named["repeat"][1]))
    return Case(**{"gold": None, **named})
