"""Templates to pages. Whatever a template puts out is escaped and its control characters are named, unless it is our own
markup; in an attribute, where marks cannot stand, the filter `exact` escapes and changes nothing else.
"""

from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, Undefined
from markupsafe import Markup, escape

from storage.explorer.details import TEXT_SHOWN
from storage.explorer.graph import PREFIX
from storage.report.svg import duration, percent
from storage.report.text import plain, visible, whole

CELL = 400
"""Characters of a cell of a table that are shown."""


@cache
def environment() -> Environment:
    """The environment of all pages."""
    made = Environment(
        loader=PackageLoader("storage.explorer", "templates"), autoescape=True, finalize=_safe, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {"visible": visible, "plain": plain, "percent": percent, "duration": duration, "exact": exact, "found": found,
                     "whole": whole, "when": when, "hinted": hinted,
                     "zip_same": lambda values: [(value, value) for value in values]}  # fmt: skip
    made.globals |= {"url": url, "thing": thing, "TEXT_SHOWN": TEXT_SHOWN}
    return made


def exact(value: object) -> Markup:
    """A text as the value of an attribute."""
    return escape("" if value is None else str(value))


def url(path: str, **parameters: object) -> Markup:
    """An address with parameters, those without a value left out."""
    given = urlencode({name.rstrip("_"): value for name, value in parameters.items() if value not in (None, "")})
    return escape(quote(path, safe="/") + (f"?{given}" if given else ""))


def thing(kind: str, identity: str | None, digits: int = 8) -> Markup:
    """A link to the page of a thing, by its id."""
    if not identity:
        return Markup('<span class="soft">—</span>')
    prefix = f"{PREFIX[kind]}_" if kind in PREFIX else ""
    return Markup('<a class="id" href="/{}/{}" title="{} {}{}"><i>{}</i>{}</a>').format(
        kind, identity, kind, prefix, identity, prefix, identity[:digits]
    )


def found(text: str, needle: str) -> Markup:
    """A snippet with what was searched for marked."""
    if not needle:
        return whole(text)
    place = (text if needle != needle.lower() else text.lower()).find(needle)
    if place < 0 or len(text.lower()) != len(text):
        return whole(text)
    before, inside, after = text[:place], text[place : place + len(needle)], text[place + len(needle) :]
    return Markup("{}<mark>{}</mark>{}").format(*map(whole, (before, inside, after)))


def hinted(text: str, without: str) -> Markup:
    """A prompt with what it has more than another marked: between the beginning and the end that both have.

    Where both could be drawn in several ways, the one that begins a line, or the text.
    """
    if not without or text == without:
        return whole(text)
    ahead = _shared(text, without)
    behind = min(_shared(text[::-1], without[::-1]), len(without))
    start = len(without) - behind  # the end as long as it can be, and so the beginning as short
    if start > ahead or (start and text[start - 1] != "\n"):
        start = ahead
    end = len(text) - min(behind, len(without) - start)
    return Markup("{}<mark>{}</mark>{}").format(whole(text[:start]), whole(text[start:end]), whole(text[end:]))


def _shared(one: str, other: str) -> int:
    return next(
        (n for n, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )


def when(moment: datetime | None) -> str:
    return "—" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _safe(value: Any) -> Any:
    return value if isinstance(value, Markup | Undefined) else visible(value, CELL)
