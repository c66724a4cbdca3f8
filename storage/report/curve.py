"""Accuracy over iterations: one line a run with its 95 % intervals, base and final test as marked points."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from storage.answers import Iteration
from storage.report.arms import Arm, Score
from storage.report.svg import chart, element, label, path, percent
from storage.report.text import plain

COLOURS = 8
"""Colours in the style sheet; after these a line's shape tells it apart."""

_MOST_EMPTY = 40
"""Iterations still to come that are left room for."""

_TOP, _BOTTOM, _LEFT = 22.0, 52.0, 56.0


@dataclass(frozen=True, slots=True)
class _Plane:
    """Where a figure falls on the chart."""

    width: float
    height: float
    right: float
    last: int

    def x(self, iteration: float) -> float:
        first, end = _LEFT + 70, self.width - self.right - 70
        return first + (end - first) * iteration / max(self.last, 1)

    def y(self, share: float) -> float:
        return _TOP + (self.height - _TOP - _BOTTOM) * (1 - share)


def accuracy_curve(arms: Sequence[Arm], width: float = 980, height: float = 400) -> Markup:
    """The chart of one run, or of several with the name at the end of each line."""
    alone = len(arms) == 1
    last = max((one.iteration for arm in arms for one in arm.iterations), default=0)
    if alone and arms[0].run.state != "completed":
        last = max(last, min(arms[0].run.config.get("iterations") or 0, _MOST_EMPTY))
    right = 28.0 if alone else 30 + 7.0 * max(len(plain(arm.run.name, 26)) for arm in arms)
    plane = _Plane(width, height, right, last)
    drawn = _axes(plane)
    for place, arm in enumerate(arms):
        drawn += _line(plane, arm, place, alone)
    if not alone:
        drawn += _names(plane, arms)
    said = "; ".join(f"{arm.run.name}: {', '.join(percent(score.accuracy) for score in arm.dev)}" for arm in arms)
    return chart(width, height, f"Held-out accuracy by iteration. {said}", drawn)


def _axes(plane: _Plane) -> list[Markup]:
    drawn: list[Markup] = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = plane.y(share)
        drawn.append(path([(_LEFT, y), (plane.width - plane.right, y)], "grid" if share else "axis"))
        drawn.append(label(percent(share, 0), _LEFT - 8, y + 4.5, "tick", "end"))
    every = 1 + plane.last // 20
    for iteration in range(0, plane.last + 1, every):
        name = str(iteration) if iteration else "base"
        drawn.append(label(name, plane.x(iteration), plane.height - _BOTTOM + 22, "tick", "middle"))
    if plane.last:
        drawn.append(label("iteration", plane.x(plane.last / 2), plane.height - 8, "tick", "middle"))
    return drawn


def _line(plane: _Plane, arm: Arm, place: int, alone: bool) -> list[Markup]:
    scores = [(one.iteration, score) for one, score in zip(_measured(arm), arm.dev, strict=True)]
    low = [(plane.x(n), plane.y(score.low)) for n, score in scores]
    high = [(plane.x(n), plane.y(score.high)) for n, score in scores]
    drawn = [path([*high, *reversed(low)], "band", closed=True)] if alone and len(scores) > 1 else []
    drawn.append(path([(plane.x(n), plane.y(score.accuracy)) for n, score in scores], "line") if scores else Markup(""))
    nudge = 0.0 if alone else (place - 1.5) * 3
    for n, score in scores:
        said = f"{arm.run.name}, {'base' if n == 0 else f'iteration {n}'}, dev"
        drawn.append(_point(plane, plane.x(n) + nudge, score, place, said))
    if alone:
        every = 1 + int(46 * max(plane.last, 1) / (plane.x(plane.last or 1) - plane.x(0)))
        drawn += [_beside(plane, plane.x(n), score) for n, score in scores if (scores[-1][0] - n) % every == 0]
        for score, n, side in ((arm.base_test, 0, -1), (arm.final_test, plane.last, 1)):
            if score:
                drawn += _test(plane, plane.x(n) + 52 * side, score, side)
    shape = f"arm a{place % COLOURS}" + (f" dash{place // COLOURS}" if place >= COLOURS else "")
    return [element("g", *drawn, class_=shape)]


def _measured(arm: Arm) -> list[Iteration]:
    return [one for one in arm.iterations if one.held_out_accuracy is not None]


def _beside(plane: _Plane, x: float, score: Score) -> Markup:
    above = plane.y(score.high) - 9
    y = above if above > 14 else plane.y(score.low) + 18
    return label(percent(score.accuracy), x, y, "value", "middle")


def _point(plane: _Plane, x: float, score: Score, place: int, said: str) -> Markup:
    y = plane.y(score.accuracy)
    figures = f"{said}: {percent(score.accuracy)}, 95 % interval {percent(score.low)} to {percent(score.high)}, n = {score.n:,}"
    whisker = path([(x, plane.y(score.low)), (x, plane.y(score.high))], "whisker")
    return element("g", element("title", plain(figures, 300)), whisker, _mark(x, y, place))


def _mark(x: float, y: float, place: int) -> Markup:
    match place % 4:
        case 0:
            return element("circle", cx=x, cy=y, r=5, class_="mark")
        case 1:
            return element("rect", x=x - 4.5, y=y - 4.5, width=9, height=9, class_="mark")
        case 2:
            return path([(x, y - 6), (x + 6, y + 4.5), (x - 6, y + 4.5)], "mark", closed=True)
        case _:
            return path([(x - 5.5, y - 5), (x + 5.5, y - 5), (x, y + 6)], "mark", closed=True)


def _test(plane: _Plane, x: float, score: Score, side: int) -> list[Markup]:
    y = plane.y(score.accuracy)
    figures = f"{'base' if side < 0 else 'final'}, {score.split}: {percent(score.accuracy)}, 95 % interval "
    figures += f"{percent(score.low)} to {percent(score.high)}, n = {score.n:,}"
    whisker = path([(x, plane.y(score.low)), (x, plane.y(score.high))], "whisker")
    diamond = path([(x, y - 8), (x + 8, y), (x, y + 8), (x - 8, y)], "diamond", closed=True)
    below = max(plane.y(score.low) + 16, y + 22)
    at = below if below + 16 < plane.height - _BOTTOM else min(plane.y(score.high) - 22, y - 28)
    words = [label(percent(score.accuracy), x, at, "value", "middle"), label(score.split, x, at + 15, "tick", "middle")]
    return [element("g", element("title", plain(figures, 300)), whisker, diamond, class_="test"), *words]


def _names(plane: _Plane, arms: Sequence[Arm]) -> list[Markup]:
    """The lines' names at their ends, moved apart where they would lie on each other."""
    ends = [(plane.y(arm.dev[-1].accuracy), place, arm) for place, arm in enumerate(arms) if arm.dev]
    drawn: list[Markup] = []
    ends.sort(key=lambda one: (one[0], one[1]))
    lowest = plane.height - _BOTTOM
    spots: list[float] = []
    for y, _, _ in ends:
        spots.append(max(y, spots[-1] + 17 if spots else _TOP))
    shift = max(0.0, spots[-1] - lowest) if spots else 0.0
    for (y, place, arm), spot in zip(ends, spots, strict=True):
        x, at = plane.x(_measured(arm)[-1].iteration), spot - shift
        end = plane.width - plane.right + 8
        drawn.append(
            element(
                "g", path([(x + 8, y), (end - 22, y), (end - 6, at)], "leader"), _mark(end + 2, at, place),
                label(arm.run.name, end + 12, at + 4.5, "value", limit=26), class_=f"arm a{place % COLOURS}",
            )
        )  # fmt: skip
    return drawn
