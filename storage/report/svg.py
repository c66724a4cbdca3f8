"""Charts as inline SVG, by hand: no script, nothing fetched, colours from the page's own style sheet.

    >>> element("circle", element("title", "45 %"), cx=3, cy=4, class_="dot")
    Markup('<circle cx="3" cy="4" class="dot"><title>45 %</title></circle>')

A chart says what it shows in its title, which screen readers speak; the same figures stand in a table below it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

from storage.report.text import plain

WIDE = 700
"""A chart drawn wider than this is also shown wider at the least; the page's style sheet says how wide."""

NBSP = "\u00a0"


def element(name: str, *children: object, **attributes: object) -> Markup:
    """One element; every child and attribute that is not markup already is escaped. `class_` and `_` as in `font_size`."""
    given = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _short(value)) for key, value in attributes.items()
    )
    inner = Markup("").join(escape(child) for child in children)
    return Markup("<{}{}>{}</{}>").format(name, given, inner, name)


def chart(width: float, height: float, title: str, children: Iterable[Markup]) -> Markup:
    """A whole chart; `title` is the sentence that stands for it where it cannot be seen."""
    return element(
        "svg", element("title", plain(title, 400)), *children,
        viewBox=f"0 0 {_short(width)} {_short(height)}", role="img", aria_label=plain(title, 400),
        class_="wide" if width > WIDE else "narrow",
    )  # fmt: skip


def label(text: object, x: float, y: float, class_: str = "", anchor: str = "start", limit: int = 40) -> Markup:
    """Text in a chart."""
    return element("text", plain(text, limit), x=x, y=y, class_=class_, text_anchor=anchor)


def path(points: Iterable[tuple[float, float]], class_: str, closed: bool = False) -> Markup:
    """A line through the points."""
    steps = "L".join(f"{_short(x)} {_short(y)}" for x, y in points)
    return element("path", d=f"M{steps}{'Z' if closed else ''}", class_=class_)


def percent(share: float | None, digits: int = 1) -> str:
    """A share as people read it; a dash where nothing was decided. Only what is all of it is 100 %."""
    if share is None:
        return "—"
    shown = f"{100 * share:.{digits}f}"
    if float(shown) == 100 and share < 1:
        shown = f"{100 - 10**-digits:.{digits}f}"
    return f"{shown}{NBSP}%"


def duration(seconds: float) -> str:
    """Seconds as people say them: 0.4 s, 42 s, 4 min 25 s, 2 h 05 min."""
    if seconds < 9.95:
        return f"{seconds:.1f}{NBSP}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{NBSP}s"
    if whole < 3600:
        return f"{whole // 60}{NBSP}min {whole % 60:02d}{NBSP}s"
    return f"{whole // 3600}{NBSP}h {whole % 3600 // 60:02d}{NBSP}min"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar. `series` is its class in the style sheet; `shown` is written in it where there is room."""

    series: str
    name: str
    value: float
    shown: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of pieces side by side. `note` stands behind it; `joined`: it belongs to the bar above."""

    name: str
    parts: tuple[Part, ...]
    note: str = ""
    joined: bool = False


def bars(title: str, given: list[Bar], width: float, *, full: bool = False) -> Markup:
    """Horizontal bars of pieces on one scale; `full`: each is as long as all (shares of a whole)."""
    left = 14 + 7.2 * max((len(plain(bar.name, 28)) for bar in given), default=0)
    right = 14 + 6.8 * max((len(bar.note) for bar in given), default=0)
    room, thick = width - left - right, 24
    longest = max((sum(part.value for part in bar.parts) for bar in given), default=0) or 1
    drawn: list[Markup] = []
    y = -6.0
    for bar in given:
        x = left
        y += 3 if bar.joined else 10
        scale = room / ((sum(part.value for part in bar.parts) or 1) if full else longest)
        drawn.append(label(bar.name, left - 10, y + 17, "name", "end", 28))
        for part in bar.parts:
            long = part.value * scale
            if long <= 0:
                continue
            said = element("title", plain(f"{bar.name}, {part.name}: {part.shown}", 200))
            drawn.append(
                element("rect", said, x=x, y=y, width=max(long - 1, 0.6), height=thick, class_=f"s-{part.series}")
            )
            if long > 10 + 7 * len(part.shown):
                drawn.append(label(part.shown, x + long / 2, y + 16.5, f"on on-{part.series}", "middle"))
            x += long
        if bar.note:
            drawn.append(label(bar.note, x + 8, y + 17, "note"))
        y += thick
    return chart(width, y + 4, title, drawn)


def _short(value: object) -> object:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
