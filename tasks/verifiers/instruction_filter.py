"""Which proposed instructions Self-Instruct keeps (its released code; section 2.2 of the paper), all but the comparison with others.

    >>> refusal("Draw a map of the town.")
    Refusal(filter='keyword', reason="asks for what a text cannot be: 'draw'")

Not covered: whether an instruction makes sense, can be followed, or is harmless. Nothing here looks at correctness.
"""

import re
import string
from dataclasses import dataclass

TRUNCATED, EMPTY = "truncated", "empty response"
SHORT, LONG, KEYWORD, PROGRAM = "too short", "too long", "keyword", "write a program"
PUNCTUATION, NOT_ASCII, SIMILAR, FORGOTTEN = "punctuation", "not ASCII", "similar", "forgotten"

FEWEST_WORDS, MOST_WORDS = 4, 150
"""[code] `<= 3 or > 150` words are refused."""
KEYWORDS = (
    "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps", "draw", "plot", "go to",
)  # fmt: skip
_KEYWORD = re.compile(rf"\b({'|'.join(KEYWORDS)})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The filter that refuses something, by the name it is counted under, and why in words."""

    filter: str
    reason: str

    @property
    def text(self) -> str:
        """As a verdict's reason says it: `too short: 2 words, at least 4 are wanted`."""
        return f"{self.filter}: {self.reason}"


def refusal(instruction: str) -> Refusal | None:
    """What the first filter that refuses it says; None if all let it pass."""
    count = len(instruction.split())
    if count < FEWEST_WORDS:
        return Refusal(SHORT, f"{count} words, at least {FEWEST_WORDS} are wanted")
    if count > MOST_WORDS:
        return Refusal(LONG, f"{count} words, at most {MOST_WORDS} are wanted")
    if found := _KEYWORD.search(instruction):
        return Refusal(KEYWORD, f"asks for what a text cannot be: {found[0].lower()!r}")
    if instruction.lower().startswith("write a program"):
        return Refusal(PROGRAM, "models ask for programs again and again")
    if instruction[0] in string.punctuation:
        return Refusal(PUNCTUATION, f"begins with {instruction[0]!r}")
    if not instruction[0].isascii():
        return Refusal(NOT_ASCII, f"begins with {instruction[0]!r}")
    return None


def too_similar(score: float, nearest: str) -> Refusal:
    """That something like it is there already; it is named by its id, so that its text stands in one place."""
    return Refusal(SIMILAR, f"ROUGE-L {score:.3f} with {nearest}")
