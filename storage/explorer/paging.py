"""Pages of a search that must answer soon, however much there is to look through.

Rows are looked at from the newest to the oldest, window by window, until the page is full or the time for it is used up;
then the answer says how far it came, and its cursor goes on from there. A page never takes longer than that and one window.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from storage.errors import UserMistake
from storage.explorer.batches import Batch, Range

PAGE = 50
BUDGET_S = 0.7
FIRST_WINDOW, LARGEST_WINDOW = 30_000, 240_000
MOST_PIECES = 24


@dataclass(frozen=True, slots=True)
class Hit:
    """A row that fits: the number of its piece in the window, and of the row."""

    piece: int
    row: int


@dataclass(frozen=True, slots=True)
class Found:
    """A page: row numbers with the batch each was found in. `after`: the cursor of the next page, None at the end."""

    rows: list[tuple[int, Batch]]
    after: str | None
    searched: int
    total: int


@dataclass(frozen=True, slots=True)
class _Point:
    """How far a search is: in batch `place`, everything from row `below` on has been looked at (None: nothing yet)."""

    place: int
    below: int | None = None


def look_through(
    batches: Sequence[Batch], look: Callable[[Sequence[Batch], int], list[Hit]], after: str | None, *, page: int = PAGE,
    budget_s: float = BUDGET_S,
) -> Found:  # fmt: skip
    """The next page. `look` gives the first rows that fit in the pieces of a window, at most so many: piece by piece, and
    in each the highest first. `batches` are in the order in which they are looked through.

    Raises UserMistake for a cursor that is none.
    """
    sizes = [len(one.rows) for one in batches]
    found: list[tuple[int, Batch]] = []
    last = point = _point(after, batches)
    size, deadline = FIRST_WINDOW, time.monotonic() + budget_s
    while point.place < len(batches):
        pieces, places, end = _window(batches, point, size)
        hits = look(pieces, page - len(found) + 1)
        for hit in hits[: page - len(found)]:
            found.append((hit.row, batches[places[hit.piece]]))
            last = _Point(places[hit.piece], hit.row)
        if len(found) == page and len(hits) and (hits[-1].row, places[hits[-1].piece]) != (last.below, last.place):
            return Found(found, _cursor(last, batches), _searched(last, batches, sizes), sum(sizes))
        point, size = end, min(size * 2, LARGEST_WINDOW)
        if time.monotonic() > deadline and point.place < len(batches):
            return Found(found, _cursor(point, batches), _searched(point, batches, sizes), sum(sizes))
    return Found(found, None, sum(sizes), sum(sizes))


def _window(batches: Sequence[Batch], point: _Point, size: int) -> tuple[list[Batch], list[int], _Point]:
    """The pieces of the next window, the place of each, and where the window ends; no two pieces have a row in common."""
    pieces, places = [], []
    while point.place < len(batches) and size > 0 and len(pieces) < MOST_PIECES:
        batch = batches[point.place]
        high = batch.rows.high if point.below is None else min(batch.rows.high, point.below - 1)
        low = max(batch.rows.low, high - size + 1)
        if any(low <= one.rows.high and one.rows.low <= high for one in pieces):
            break  # the same rows in another step: each row has one piece in a window
        if high >= low:
            pieces.append(replace(batch, rows=Range(low, high)))
            places.append(point.place)
            size -= high - low + 1
        point = _Point(point.place + 1) if low == batch.rows.low else _Point(point.place, low)
    return pieces, places, point


def _searched(point: _Point, batches: Sequence[Batch], sizes: Sequence[int]) -> int:
    seen = 0 if point.below is None else batches[point.place].rows.high - point.below + 1
    return sum(sizes[: point.place]) + seen


def _cursor(point: _Point, batches: Sequence[Batch]) -> str:
    return f"{point.place}.{batches[point.place].rows.high + 1 if point.below is None else point.below}"


def _point(after: str | None, batches: Sequence[Batch]) -> _Point:
    if not after:
        return _Point(0)
    place, dot, below = after.partition(".")
    fits = dot and place.isdecimal() and below.isdecimal() and len(after) < 40 and int(place) < max(len(batches), 1)
    if not fits:
        raise UserMistake("this page is of another search or another snapshot; search again")
    return _Point(int(place), int(below))
