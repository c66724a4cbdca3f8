"""Text that a model or a person wrote, as HTML that can do nothing: escaped, its control characters visible, cut.

    >>> visible("\\x1b[31m<b>")
    Markup('<span class="ctl" title="U+001B">ESC</span>[31m&lt;b&gt;')

Line breaks and tabs stay what they are. Characters that show nothing or turn the direction of writing are named
instead; so an emoji that is joined from several falls into its parts.
"""

import unicodedata
from dataclasses import dataclass

from markupsafe import Markup

LONGEST = 1200
"""Characters of one text that are shown; of a longer one its beginning and its end, where answers stand."""

MOST_LINES = 30

_CONTROLS = [
    "NUL", "SOH", "STX", "ETX", "EOT", "ENQ", "ACK", "BEL", "BS", "TAB", "LF", "VT", "FF", "CR", "SO", "SI",
    "DLE", "DC1", "DC2", "DC3", "DC4", "NAK", "SYN", "ETB", "CAN", "EM", "SUB", "ESC", "FS", "GS", "RS", "US",
]  # fmt: skip
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_CONTROL = Markup('<span class="ctl" title="{}">{}</span>')
_CUT = Markup('<span class="cut">{}</span>')


def visible(text: object, limit: int = LONGEST) -> Markup:
    """A text to be read, with a note of its length where it is cut."""
    whole = "" if text is None else str(text)
    part = _cut(whole, limit)
    return _shown(part.head) if not part.note else _shown(part.head) + _CUT.format(part.note) + _shown(part.tail)


def whole(text: object) -> Markup:
    """A text to be read, all of it."""
    return _shown("" if text is None else str(text))


def plain(text: object, limit: int = 60) -> str:
    """The same without marks, on one line: for labels and titles. Still to be escaped."""
    whole = "" if text is None else str(text)
    short = whole if len(whole) <= limit else f"{whole[: limit - 1]}…"
    return "".join(
        f"⟨{_name(character)}⟩" if _hidden(character) or character in "\n\t" else character for character in short
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """What is shown of a text; an empty `note` says that it is all in `head`."""

    head: str
    note: str = ""
    tail: str = ""


def _cut(text: str, limit: int) -> _Part:
    if len(text) > limit:
        head, tail = text[: limit * 2 // 3], text[len(text) - limit // 3 :]
        left_out = len(text) - len(head) - len(tail)
        note = f" … {left_out:,} of {len(text):,} characters are not shown … "
        return _Part(_lines(head), note, _lines(tail, last=True))
    lines = text.split("\n")
    if len(lines) > MOST_LINES:
        half = MOST_LINES // 2
        note = f"\n… {len(lines) - 2 * half:,} of {len(lines):,} lines are not shown …\n"
        return _Part("\n".join(lines[:half]), note, "\n".join(lines[-half:]))
    return _Part(text)


def _lines(text: str, last: bool = False) -> str:
    lines = text.split("\n")
    half = MOST_LINES // 2
    return "\n".join(lines[-half:] if last else lines[:half])


def _shown(text: str) -> Markup:
    pieces: list[Markup | str] = []
    run: list[str] = []
    for character in text:
        if _hidden(character):
            pieces += ["".join(run), _CONTROL.format(f"U+{ord(character):04X}", _name(character))]
            run = []
        else:
            run.append(character)
    return Markup("").join([*pieces, "".join(run)])


def _hidden(character: str) -> bool:
    return character not in "\n\t" and not " " <= character <= "~" and unicodedata.category(character) in _HIDDEN


def _name(character: str) -> str:
    code = ord(character)
    if code < len(_CONTROLS):
        return _CONTROLS[code]
    return "DEL" if code == 0x7F else f"U+{code:04X}"
