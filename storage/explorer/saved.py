"""Saved questions: the cookbook that ships, and a person's own, which are the `.sql` files in the home's folder `queries`."""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from storage.home import Home

MOST_OWN, LONGEST = 200, 100_000


@dataclass(frozen=True, slots=True)
class Saved:
    """A question with its SQL; `chapter` is where it stands in a list."""

    name: str
    chapter: str
    sql: str


def saved_questions(home: Home) -> list[Saved]:
    """A person's own first, then the cookbook's."""
    own = []
    folder = home.root / "queries"
    for file in sorted(folder.glob("*.sql"))[:MOST_OWN] if folder.is_dir() else []:
        text = file.read_text("utf-8", "replace")[:LONGEST]
        own.append(Saved(file.stem.replace("_", " "), "Yours", text.strip()))
    return [*own, *cookbook()]


@cache
def cookbook() -> tuple[Saved, ...]:
    """The questions of docs/lineage.md."""
    text = (resources.files("storage") / "explorer" / "cookbook.sql").read_text("utf-8")
    found, chapter = [], ""
    for mark, title, body in re.findall(r"^-- (##?) (.*)\n((?:(?!-- #).*\n?)*)", text, re.MULTILINE):
        if mark == "#":
            chapter = title
        else:
            found.append(Saved(title, chapter, body.strip()))
    return tuple(found)
