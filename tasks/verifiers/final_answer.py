r"""Which answer a text gives in the end: the last one that it states, if it states one and sticks to it.

    Answer: 12 ... wait, no. Answer: 18                → 18
    The answer is either 12 or 18.                     → none; two answers are no answer
    #### 18                                            → 18
    so $x = \boxed{\frac{1}{2}}$, that is, one half.   → \frac{1}{2}
    16 - 3 - 4 = 9 eggs. She makes 9 * 2 = $18.        → $18; nothing is stated, but the last sentence concludes
    There are 18 eggs. Hard to say.                    → none; a number in passing is no answer

A verifier brings how to read the words of a statement; what they mean is not looked at here. What is stated last decides, but two
different statements with no word of correction between them do not, nor does one that is taken back. Time is linear in the text.
"""

import operator
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

LONGEST = 4000
"""Characters of one statement that are looked at."""

LOOKED_AT = 40
"""Statements from the end that are looked at."""

_MARK = re.compile(
    r"(?P<box>\\(?:boxed|fbox)\s*\{)"
    r"|^[ \t]*(?P<hashes>\#{4})[ \t]*"
    r"|(?<![A-Za-z])(?:(?:final|correct|right|best)[ \t]+)?(?:answers?|ans|(?<=correct )(?:option|choice)|(?<=right )(?:option|choice)|(?<=best )(?:option|choice))(?:[ \t]+to[ \t]+[^.:\n]{1,80}?|[ \t]+choice|[ \t]+option)?(?:\*\*|__)?"
    r"\s{0,3}(?:(?:is|are)(?![A-Za-z'’])(?:[ \t]*:)?|[:=])(?:\*\*|__)?\s{0,4}"
    r"|^[ \t]*(?:\*\*)?answer(?:\*\*)?[ \t]+(?=[$\\(\d-])",
    re.IGNORECASE | re.MULTILINE,
)
_ENDED = re.compile(r"<\|(?:im_end|im_start|endoftext|eot_id|end|end_of_text|user)\|>|</s>")
"""Where a model's turn ends, in an engine that leaves that in the text."""

_NOT = re.compile(r"(?:not\b|unknown|unclear|impossible to say|n't)", re.IGNORECASE)
CONDITIONAL = re.compile(r"(?<!\{)\b(?:if|unless|otherwise|depending on)\b", re.IGNORECASE)
_REVISED = re.compile(
    r"\b(?:no|wait|actually|wrong|incorrect|sorry|correct(?:ion|ing)|instead|mistake|hmm+|rather|should be|let me|let's|"
    r"double[- ]?check|recheck|re-?calculate|check(?:ing)?|but|however|scratch that|therefore|thus|hence|so|final|overall|finally)\b",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(
    r"\b(?:wrong|incorrect|scratch that|not right|not correct|isn't right|isn't correct|(?:a|my) mistake|ignore that)\b",
    re.IGNORECASE,
)
_DOUBTED = re.compile(
    r"\b(?:wait|actually|sorry|hmm+|correction|instead|no,|or (?:maybe|perhaps)|alternatively)", re.IGNORECASE
)
_BETWEEN_BOXES = re.compile(r"[^.\n]{0,60}")
_JOINING = re.compile(r",|;|\band\b|\bor\b", re.IGNORECASE)
_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}")
HEDGED = re.compile(
    r"(?:\b(?:not|never|could|might|may|maybe|perhaps|either|between|at least|at most|more than|less than|guess|unsure|"
    r"do not know|cannot|if|unless|suppose|assume|or)|n['’]t)\b",
    re.IGNORECASE,
)
_CONCLUDING = re.compile(
    r"\b(?:so|therefore|thus|hence|altogether|total|in all|finally|result|value|equals?|gives?|get|left|we have)\b",
    re.IGNORECASE,
)
_EQUALS = re.compile(r"(?<![<>!:=\\])=(?!=)")


@dataclass(frozen=True, slots=True)
class Decided(Generic[T]):
    """The final answer as it was read; None where there is none, and `why`. `written` is the words that were read."""

    value: T | None
    written: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """Words that are stated to be the answer, and where they stand. A list of boxes is one statement."""

    start: int
    end: int
    words: str
    boxed: bool


def decide(
    text: str,
    read: Callable[[str], T | None],
    names_another: Callable[[str, T], bool],
    question: str = "",
    *,
    bare_words: int = 3,
    same: Callable[[T, T], bool] = operator.eq,
) -> Decided[T]:
    """The final answer of a text.

    `read` makes a value of the words of a statement, None where they are not one answer; `names_another` says whether
    words name an answer other than the value; a sentence of the question concludes nothing. A single line of at most
    `bare_words` words is taken to be an answer and nothing else. `same`: whether two statements say the same.
    """
    text = _ENDED.split(text, maxsplit=1)[0]
    stated = statements(text)
    if not stated:
        return _concluded(text, read, question, bare_words)
    final = stated[-1]
    value = read(final.words)
    if value is None:
        return Decided(None, final.words, f"what is stated is not one answer: {final.words!r:.80}")
    after = text[final.end : final.end + LONGEST]
    if _TAKEN_BACK.search(after) or (_DOUBTED.search(after) and names_another(after, value)):
        return Decided(None, final.words, f"the answer {final.words!r:.40} is taken back")
    for earlier in reversed(stated[:-1]):
        between = text[earlier.end : final.start]
        if len(_WORDS.findall(between)) > 6 or _REVISED.search(between) or _REVISED.search(earlier.words):
            break
        other = read(earlier.words)
        if other is None or not same(other, value):
            return Decided(None, final.words, f"two answers are stated: {earlier.words!r:.40} and {final.words!r:.40}")
    return Decided(value, final.words)


def statements(text: str) -> list[Statement]:
    """What the text states to be its answer, in order; of very many, the last ones."""
    marks = deque(_MARK.finditer(text), maxlen=LOOKED_AT)
    found: list[Statement] = []
    for mark in marks:
        if mark["box"]:
            end = closing(text, mark.end())
            inner = "" if end is None else text[mark.end() : end]
            if "\\boxed" not in inner and "\\fbox" not in inner:
                found.append(Statement(mark.start(), mark.end() if end is None else end + 1, inner, boxed=True))
            continue
        end = _sentence_end(text, mark.end(), line=mark["hashes"] is not None)
        words = text[mark.end() : end]
        if (
            "\\boxed" not in words
            and "\\fbox" not in words
            and not _NOT.match(words.lstrip())
            and not _MARK.search(words)
        ):
            found.append(Statement(mark.start(), end, words, boxed=False))
    return _joined(text, found)


def closing(text: str, start: int) -> int | None:
    """Where the brace closes that was opened just before `start`; None if it never does, or not within what is looked at."""
    depth, place, last = 1, start, min(len(text), start + LONGEST)
    while place < last:
        if text[place] == "\\":
            place += 1
        elif text[place] == "{":
            depth += 1
        elif text[place] == "}":
            depth -= 1
            if depth == 0:
                return place
        place += 1
    return None


def _joined(text: str, found: list[Statement]) -> list[Statement]:
    """Boxes that are enumerated (`\\boxed{1} and \\boxed{2}`) as one statement of a list."""
    joined: list[Statement] = []
    for one in found:
        last = joined[-1] if joined else None
        if last is not None and last.boxed and one.boxed:
            between = text[last.end : one.start]
            if not between.strip(" $") or (_BETWEEN_BOXES.fullmatch(between) and _JOINING.search(between)):
                joined[-1] = Statement(last.start, one.end, f"{last.words}, {one.words}", boxed=True)
                continue
        joined.append(one)
    return joined


def _sentence_end(text: str, start: int, *, line: bool) -> int:
    """Where the sentence ends that begins at `start`: at a full stop or a new line outside formulas and braces."""
    last = min(len(text), start + LONGEST)
    for opening, shut in (("$$", "$$"), ("\\[", "\\]")):
        if text.startswith(opening, start):
            end = text.find(shut, start + 2, last)
            return last if end < 0 else end + 2
    depth, place = 0, start
    while place < last:
        character = text[place]
        if character == "\n":
            return place
        if character == "\\":
            place += 1
        elif character in "{}":
            depth = max(0, depth + (1 if character == "{" else -1))
        elif character in ".!?" and depth == 0 and not line:
            following = text[place + 1 : place + 2]
            if following == "" or following.isspace() or following in "*$)\"'":
                return place
        place += 1
    return last


def _concluded(text: str, read: Callable[[str], T | None], question: str, bare: int) -> Decided[T]:
    """The answer of a text that states none: all of it if it is nothing else, else what its last sentence comes to."""
    whole = text.strip()
    if not whole:
        return Decided(None, None, "no answer")
    if "\n" not in whole and len(whole) <= LONGEST and len(_WORDS.findall(whole)) <= bare:
        value = None if HEDGED.search(whole) or _TAKEN_BACK.search(whole) else read(whole)
        if value is not None:
            return Decided(value, whole)
    sentences = [one for one in re.split(r"\n+|(?<=[.!?])\s+", whole[-LONGEST:]) if one.strip(" *_`")]
    closing_remarks = 0
    while len(sentences) > 1 and closing_remarks < 2 and not re.search(r"[\d$\\]", sentences[-1]):
        if HEDGED.search(sentences[-1]) or _TAKEN_BACK.search(sentences[-1]):
            break
        sentences.pop()
        closing_remarks += 1
    last = sentences[-1].strip(" *_`").rstrip(".!?")
    if HEDGED.search(last) or _TAKEN_BACK.search(last):
        return Decided(None, last, f"no answer is stated, and the last sentence is none: {last!r:.60}")
    words = _conclusion(last, whole)
    if words is None and len(sentences) + closing_remarks == 1 and len(whole) <= LONGEST:
        words = last
    said = "".join(question.split()).lower()
    if words is None or "".join(last.split()).lower() in said:
        return Decided(None, None, "no answer is stated")
    value = read(words)
    return Decided(value, words, None if value is not None else "no answer is stated")


def _conclusion(sentence: str, text: str) -> str | None:
    """The part of a last sentence that says what it comes to; None where it does not conclude."""
    parts = _EQUALS.split(sentence)
    if len(parts) > 1:
        several = len(parts) > 2 and any(_JOINING.search(part) for part in parts[1:-1])
        return None if several else parts[-1]
    if _CONCLUDING.search(sentence):
        return sentence
    earlier = _EQUALS.split(text[-LONGEST:])
    numbers = re.findall(r"\d[\d,.]*", sentence)
    if len(earlier) > 1 and len(numbers) == 1:
        came_to = re.match(r"[\s$€£]*(\d[\d,.]*)", earlier[-1])
        if came_to and came_to[1].rstrip(".,") == numbers[0].rstrip(".,"):
            return sentence
    return None


def cleaned(words: str) -> str:
    """Words without the marks around them that are no part of an answer: emphasis, quotes, a full stop."""
    last = None
    while words != last:
        last = words
        words = words.strip().strip("*_`\"'“”‘’").rstrip(".,;!?").strip()
    return words


def prose(text: str) -> list[str]:
    """The words of prose in a formula or statement: no commands, no single letters."""
    return _WORDS.findall(text)
