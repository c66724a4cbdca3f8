"""The health of a loop as the page shows it: a small chart a figure, the limits that were passed, and the verifier's ceiling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from storage.report.arms import Arm
from storage.report.svg import chart, element, label, path, percent

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 300.0, 130.0, 46.0, 54.0, 14.0, 26.0


@dataclass(frozen=True, slots=True)
class Trend:
    """A figure over iterations: what it is, and its chart."""

    name: str
    says: str
    svg: Markup


@dataclass(frozen=True, slots=True)
class Health:
    """An arm's: `trends` are drawn, `rows` are the same figures, `signs` the limits that were passed, in sentences."""

    trends: list[Trend]
    columns: list[str]
    rows: list[list[str]]
    signs: list[str]
    ceiling: str


@dataclass(frozen=True, slots=True)
class _Figure:
    """A figure of the health facts: `share` in per cent, else a plain number."""

    name: str
    says: str
    share: bool
    series: Sequence[str]


_FIGURES = (
    _Figure("pass@1 and pass@K", "sharpening lifts the lower line alone, learning both", True, ("pass_1", "pass_k")),
    _Figure("distinct solutions", "of a solved problem, among its right attempts", False, ("distinct_solutions",)),
    _Figure("mean length", "of an attempt, in tokens where they are counted", False, ("length",)),
    _Figure("lost on dev", "of the problems that the model before solved", True, ("lost_share",)),
    _Figure("unsound", "of the attempts that passed and were audited", True, ("false_positive_share",)),
    _Figure("train above dev", "accuracy of the same model, sampled and greedy", True, ("train_dev_gap",)),
)


def health(arm: Arm) -> Health | None:
    """None where no iteration was looked at."""
    seen = [(one.iteration, _figures(one.figures["health"])) for one in arm.iterations if one.figures.get("health")]
    if not seen:
        return None
    trends = [
        Trend(one.name, one.says, drawn)
        for one in _FIGURES
        if (drawn := _trend(one, [(n, [figures.get(name) for name in one.series]) for n, figures in seen])) is not None
    ]
    columns = ["iteration", "pass@1", "pass@K", "distinct", "length", "lost on dev", "unsound", "rationalized", "train above dev", "undecided"]  # fmt: skip
    rows = [[str(n), *_cells(figures)] for n, figures in seen]
    signs = [
        f"iteration {one.iteration}: {sign['said']} (limit {sign['limit']:g}, {sign['action']})"
        for one in arm.iterations for sign in one.figures.get("health", {}).get("signs", [])
    ]  # fmt: skip
    return Health(trends, columns, rows, signs, ceiling_says(seen[-1][1].get("ceiling")))


def ceiling_says(ceiling: Mapping[str, Any] | None) -> str:
    """What the verifier's audited errors allow, in two sentences; empty where nobody audited it."""
    if not ceiling:
        return ""
    return (
        f"On {ceiling['cases']} labelled cases the verifier accepts {percent(ceiling['false_accept_rate'])} of the wrong and rejects "
        f"{percent(ceiling['false_reject_rate'])} of the right ones. With such errors this loop can approach a true accuracy of "
        f"{percent(ceiling['accuracy'])} (at worst {percent(ceiling['worst'])}), and a model without any error would score "
        f"{percent(ceiling['measured'])}."
    )


def _figures(health: Mapping[str, Any]) -> dict[str, Any]:
    curve = health.get("pass_at") or []
    length = health.get("mean_tokens")
    return {
        **health,
        "pass_1": curve[0] if curve else None,
        "pass_k": curve[-1] if len(curve) > 1 else None,
        "length": health.get("mean_characters") if length is None else length,
    }


def _cells(figures: Mapping[str, Any]) -> list[str]:
    shares = ("lost_share", "false_positive_share", "rationalized_share", "train_dev_gap", "undecided_share")
    plain = ("distinct_solutions", "length")
    return [
        percent(figures["pass_1"]),
        percent(figures["pass_k"]),
        *("—" if figures.get(name) is None else f"{figures[name]:.1f}" for name in plain),
        *(percent(figures.get(name)).replace("-", "−") for name in shares),
    ]


def _trend(figure: _Figure, points: Sequence[tuple[int, Sequence[float | None]]]) -> Markup | None:
    """Its lines on their own scale; None where nothing was measured."""
    values = [value for _, given in points for value in given if value is not None]
    if not values:
        return None
    low, high = min(0.0, *values), max(*values, 1e-9)
    last = max(max(n for n, _ in points), 2)

    def place(n: int, value: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * (n - 1) / (last - 1)
        return x, _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - (value - low) / (high - low))

    drawn = [path([place(1, low), place(last, low)], "axis")]
    drawn += [label(_shown(figure, one), _LEFT - 6, place(1, one)[1] + 4.5, "tick", "end") for one in (low, high)]
    drawn += [label(str(n), place(n, low)[0], _HEIGHT - 8, "tick", "middle") for n in (1, last)]
    for which in range(len(figure.series)):
        line = [(n, value) for n, given in points if (value := given[which]) is not None]
        if not line:
            continue
        marks = [
            element("circle", element("title", f"iteration {n}: {_shown(figure, value)}"), cx=x, cy=y, r=3.5, class_="mark")
            for n, value in line for x, y in [place(n, value)]
        ]  # fmt: skip
        end = place(*line[-1])
        shown = label(_shown(figure, line[-1][1]), end[0] + 8, end[1] + 4.5, "value")
        drawn.append(element("g", path([place(*one) for one in line], "line"), *marks, shown, class_=f"arm a{which}"))
    return chart(_WIDTH, _HEIGHT, f"{figure.name}, {figure.says}", drawn)


def _shown(figure: _Figure, value: float) -> str:
    return percent(value, 0).replace("-", "−") if figure.share else f"{value:.1f}"
