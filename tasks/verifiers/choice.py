r"""Multiple choice: the label, or the words of one option, that the text states last.

    >>> verify("It spins faster.\nAnswer: B ... no. Answer: C", problem)       # problem.gold == "C"
    Judgement(passed=True, answer='C')

The options are in the problem's info: `{"choices": {"A": "bank", "B": "library"}}`, or as the public sets have them
(`{"label": [...], "text": [...]}`, `[{"label": "A", "text": "bank"}]`); without any, labels are the letters A to J. The gold answer is a label, or
the words of an option. A label with the words of another option beside it, several labels, or all of them, are no answer.
"""

import json
import re
import unicodedata
from typing import Any

from storage.records import Problem
from tasks.verifiers.final_answer import cleaned, decide
from tasks.verifiers.numeric import unwrapped
from tasks.verifiers.protocol import Judgement

LETTERS = "ABCDEFGHIJ"
LONGEST_OPTION = 4000

_LABEL = re.compile(
    r"(?:(?:option|choice|letter|answer)\s+)?(?:(?P<open>[(\[{])\s*(?P<inside>\w{1,2})\s*[)\]}]|(?P<plain>\w{1,2})(?P<end>[.):,;]|\s*[-–—:]|(?=\s|$)))",
    re.IGNORECASE,
)
_ANOTHER = re.compile(
    r"(?:^|\b(?:or|and|and/or)\s+|[,;/&]\s*|\s)\(?(?:option\s+|choice\s+)?([A-J1-9])\b\)?(?=\s*(?:$|[,;/&.)]|or\b|and\b))"
)
_ENDING = re.compile(
    r"\b(?:so|therefore|thus|hence|choose|pick|select|go with)[\s,:]*(?:it is |it's |option |choice )?\(?([A-J1-9])\)?$"
)
_CALLED = re.compile(
    r"(?:(?:option|choice|answer)\s+)?\(?([A-J1-9])\)?\s+is\s+(?:the\s+)?(?:right|correct|best)\b", re.IGNORECASE
)
_BECAUSE = re.compile(r"\(|(?:because|since|as|which|for|due)\b", re.IGNORECASE)
_PART = re.compile(r"(?<![\w])\(([A-Ja-j1-9])\)|(?<![\w'])([B-HJ])(?![\w'])")
_COMMANDS = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox|operatorname)\s*\{([^{}]*)\}")


def verify(text: str, problem: Problem) -> Judgement:
    """Passes when the final answer is the gold option; undecided where the gold answer is none of the options."""
    if problem.gold is None:
        return Judgement(None, reason="the problem has no gold answer")
    options = options_of(problem)
    if options is None:
        return Judgement(None, reason="the problem's choices cannot be read; give them as {label: text}")
    gold = problem.gold if problem.gold in options else label_of(problem.gold, options)
    if gold is None:
        return Judgement(
            None, reason=f"the gold answer {problem.gold!r:.60} is none of the options {', '.join(options)}"
        )
    if len(text) <= LONGEST_OPTION and text.strip() not in options and (named := by_words(text.strip(), options)):
        # The words of an option and nothing else, whatever they are; two options of the same words are both said.
        right = gold in named
        answer = gold if right else named[0]
        return Judgement(right, answer=answer, reason=None if right else "another option")
    final = decide(
        plain(text),
        lambda words: label_of(words, options),
        lambda words, value: _names_another(words, value, options),
        problem.question,
        bare_words=60,
    )
    if final.value is None:
        return Judgement(False, reason=final.why)
    if final.value == gold:
        return Judgement(True, answer=final.value)
    return Judgement(False, answer=final.value, reason="another option")


def options_of(problem: Problem) -> dict[str, str] | None:
    """Label to words, in order; None where `choices` has another shape. Without choices: the letters, without words."""
    choices: Any = json.loads(problem.info).get("choices")
    if choices is None:
        return dict.fromkeys(LETTERS, "")
    if isinstance(choices, dict) and isinstance(choices.get("label"), list) and isinstance(choices.get("text"), list):
        pairs = list(zip(choices["label"], choices["text"], strict=False))
    elif isinstance(choices, dict):
        pairs = list(choices.items())
    elif isinstance(choices, list) and all(
        isinstance(one, dict) and {"label", "text"} <= one.keys() for one in choices
    ):
        pairs = [(one["label"], one["text"]) for one in choices]
    elif isinstance(choices, list) and all(isinstance(one, str) for one in choices) and len(choices) <= len(LETTERS):
        pairs = list(zip(LETTERS, choices, strict=False))
    else:
        return None
    if not pairs or not all(isinstance(one, str) for pair in pairs for one in pair):
        return None
    return dict(pairs)


def plain(text: str) -> str:
    """Letters and digits in their ASCII form where they have one (full-width, mathematical bold)."""
    return text if text.isascii() else "".join(_ascii(c) for c in text)


def _ascii(character: str) -> str:
    folded = unicodedata.normalize("NFKC", character)
    return folded if len(folded) == 1 and folded.isascii() and unicodedata.category(character) != "No" else character


def label_of(words: str, options: dict[str, str]) -> str | None:
    """The one option that words state, by its label or by its own words; None where they state none, or several."""
    words = cleaned(unwrapped(cleaned(_COMMANDS.sub(r"\1", words))))
    said = normal(words)
    if not said:
        return None
    named_by_words = by_words(words, options)
    called = _CALLED.match(words)
    if called is not None:
        return _known(called[1], options)
    ending = _ENDING.search(words)
    if ending is not None and not _PART.search(words[: ending.start()]):
        return _known(ending[1], options)
    match = _LABEL.match(words)
    label = match and _known(match["inside"] or match["plain"], options)
    if match is None or label is None:
        return named_by_words[0] if len(named_by_words) == 1 else None
    if words in options or len(words) <= 2:
        return label
    rest = cleaned(words[match.end() :]).lstrip("-–—:,.) ")
    bracketed = match["open"] is not None or match["end"] not in ("", None)
    if not rest:
        return label
    named = [one for one, option in options.items() if option and normal(option) == normal(rest)]
    if named:
        return label if label in named else None
    if len(named_by_words) == 1:
        return named_by_words[0]
    reasoned = _BECAUSE.match(rest) is not None
    if not reasoned and _lists_another(words[match.end() :], label, options):
        return None
    if bracketed or reasoned:
        others = [
            one
            for one, option in options.items()
            if one != label and option and normal(rest).startswith(normal(option))
        ]
        return None if others else label
    return None


def by_words(words: str, options: dict[str, str]) -> list[str]:
    """The labels of the options that words are; those that are written just so, if any are."""
    exact = [label for label, option in options.items() if option and option.strip() == words]
    return exact or [label for label, option in options.items() if option and normal(option) == normal(words)]


def normal(words: str) -> str:
    """Words as they are compared: case, spacing, an article and the full stop aside."""
    words = " ".join(words.casefold().split()).strip(" .,;:!?\"'“”‘’*`")
    return re.sub(r"^(?:the|a|an) ", "", words)


def _known(label: str, options: dict[str, str]) -> str | None:
    """The option's label as the problem writes it; a lower-case letter counts."""
    return next(
        (one for one in options if one == label), next((one for one in options if one.lower() == label.lower()), None)
    )


def _lists_another(rest: str, label: str, options: dict[str, str]) -> bool:
    """Whether more labels follow the first: `A, B`, `A or (C)`, `A B C D`."""
    return any(
        (other := _known(found[1], options)) is not None and other != label for found in _ANOTHER.finditer(rest[:200])
    )


def _names_another(words: str, value: str, options: dict[str, str]) -> bool:
    found = [_known(match[1] or match[2], options) for match in _PART.finditer(words)]
    return any(one is not None and one != value for one in found)
