"""A comparison of methods as a table and as a chart: dev accuracy over generated tokens, and the test beside it, with intervals.

The facts are those that `starloop compare` keeps with its run.
"""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from markupsafe import Markup

from storage.report.headline import p_shown
from storage.report.svg import chart, duration, element, label, path, percent

COLUMNS = (
    "method",
    "test accuracy",
    "95 %",
    "each seed",
    "against the base",
    "tokens, of the budget",
    "iterations",
    "time",
)
PAIR_COLUMNS = ("between", "only the first", "only the other", "exact McNemar p", "each seed")
COLOURS = ("#1769aa", "#c25e00", "#00735c", "#a4417f", "#5b646e", "#3d9bd1", "#9a7b00", "#7a4da0")
_WIDTH, _HEIGHT, _TOP, _BOTTOM, _LEFT, _TEST = 980.0, 400.0, 22.0, 52.0, 56.0, 250.0

Facts = Mapping[str, Any]


def rows(found: Facts) -> list[list[str]]:
    """A line for the base and for each method, as in COLUMNS."""
    table = []
    base = found["base"]
    if base:
        shown = f"n = {base['n']:,}"
        table.append(["the base", percent(base["accuracy"]), _interval(base), shown, "—", "—", "—", "—"])
    against = {(one["first"], one["other"]): one for one in found["pairs"]}
    for method in found["methods"]:
        test, loops = method["test"], method["loops"]
        versus = against.get((method["method"], "the base"))
        gain = "—"
        if test and base and versus:
            points = f"{100 * (test['accuracy'] - base['accuracy']):+.1f}".replace("-", "−")
            gain = f"{points} points, {p_shown(versus['p_value'])}"
        spent = mean(one["tokens"] for one in loops)
        table.append([
            method["method"],
            percent(test["accuracy"]) if test else "no test",
            _interval(test) if test else "—",
            ", ".join("—" if one["accuracy"] is None else f"{100 * one['accuracy']:.1f}" for one in loops),
            gain,
            f"{spent:,.0f}, {percent(spent / found['budget_tokens'], 0)}",
            ", ".join(str(one["iterations"]) for one in loops),
            duration(sum(one["wall_s"] or 0.0 for one in loops)),
        ])  # fmt: skip
    return table


def pair_rows(found: Facts) -> list[list[str]]:
    """A line for each two sides, as in PAIR_COLUMNS."""
    return [
        [
            f"{one['first']}, {one['other']}", f"{one['gained']:,}", f"{one['lost']:,}", p_shown(one["p_value"]),
            ", ".join(f"{p:.2g}" for p in one["by_seed"]),
        ]
        for one in found["pairs"]
    ]  # fmt: skip


def failures(found: Facts) -> list[str]:
    """A sentence for every loop that did not come to its test."""
    return [
        f"{method['method']}, seed {one['seed']}: {one['state']}{': ' + one['why'] if one['why'] else ''}"
        for method in found["methods"] for one in method["loops"] if one["accuracy"] is None
    ]  # fmt: skip


def comparison_chart(found: Facts) -> Markup:
    """Dev accuracy over the tokens that the iterations generated, in the mean over seeds; on the right the test."""
    most = max([found["budget_tokens"], *(point["tokens"] for one in found["methods"] for point in one["curve"])])
    drawn = _axes(most)
    if found["base"]:
        y = _y(found["base"]["accuracy"])
        drawn.append(path([(_WIDTH - _TEST + 20, y), (_WIDTH - 20, y)], "axis dashed"))
        drawn.append(label("the base", _WIDTH - 20, y - 6, "tick", "end"))
    for place, method in enumerate(found["methods"]):
        drawn.append(_method(method, place, most, len(found["methods"])))
    said = "; ".join(f"{one['method']} {percent(one['test']['accuracy'])}" for one in found["methods"] if one["test"])
    return chart(_WIDTH, _HEIGHT, f"Accuracy by generated tokens, and on test: {said}", drawn)


def standalone(svg: Markup) -> str:
    """The chart as a file of its own, with its colours in it."""
    lines = "".join(f".a{n} {{ --c: {colour}; }}" for n, colour in enumerate(COLOURS))
    style = (
        "svg { background: #ffffff; } text { font: 13px system-ui, sans-serif; fill: #171b20; } .tick { fill: #56606b; } "
        ".grid { stroke: #dde1e6; } .axis { stroke: #56606b; fill: none; } .dashed { stroke-dasharray: 6 4; } "
        ".line { fill: none; stroke: var(--c); stroke-width: 2.6; } .whisker { stroke: var(--c); stroke-width: 1.6; } "
        f".mark {{ fill: var(--c); }} .value {{ font-weight: 650; }} {lines}"
    )
    opened = str(svg).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head, end, rest = opened.partition(">")
    return f"{head}{end}<style>{style}</style>{rest}\n"


def markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table for a page of documentation."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [columns, ["---"] * len(columns), *lines])


def _interval(score: Facts) -> str:
    return f"{percent(score['low'])} to {percent(score['high'])}"


def _x(tokens: float, most: float) -> float:
    return _LEFT + 20 + (_WIDTH - _TEST - _LEFT - 50) * tokens / max(most, 1)


def _y(share: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - share)


def _axes(most: float) -> list[Markup]:
    drawn: list[Markup] = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        drawn.append(path([(_LEFT, _y(share)), (_WIDTH - 20, _y(share))], "grid" if share else "axis"))
        drawn.append(label(percent(share, 0), _LEFT - 8, _y(share) + 4.5, "tick", "end"))
    drawn += [
        label(f"{part * most:,.0f}", _x(part * most, most), _HEIGHT - _BOTTOM + 22, "tick", "middle")
        for part in (0, 0.25, 0.5, 0.75, 1)
    ]
    drawn.append(label("tokens generated in iterations; dev", _x(most / 2, most), _HEIGHT - 8, "tick", "middle"))
    drawn.append(label("test", _WIDTH - _TEST / 2, _HEIGHT - 8, "tick", "middle"))
    drawn.append(path([(_WIDTH - _TEST + 10, _TOP), (_WIDTH - _TEST + 10, _HEIGHT - _BOTTOM)], "grid"))
    return drawn


def _method(method: Facts, place: int, most: float, methods: int) -> Markup:
    points = [(_x(one["tokens"], most), one) for one in method["curve"]]
    drawn = [path([(x, _y(one["accuracy"])) for x, one in points], "line")] if points else []
    drawn += [_point(x + 3 * place, one, f"{method['method']}, iteration {one['iteration']}") for x, one in points]
    if test := method["test"]:
        x = _WIDTH - _TEST + 45 + (_TEST - 75) * (place + 0.5) / methods
        drawn.append(_point(x, test, f"{method['method']}, test"))
        drawn.append(label(percent(test["accuracy"]), x, _y(test["high"]) - 8, "value", "middle"))
        drawn.append(label(method["method"], x, _HEIGHT - _BOTTOM + 22, "tick", "middle", 14))
    return element("g", *drawn, class_=f"arm a{place % len(COLOURS)}")


def _point(x: float, score: Facts, said: str) -> Markup:
    whisker = path([(x, _y(score["low"])), (x, _y(score["high"]))], "whisker")
    figures = f"{said}: {percent(score['accuracy'])}, 95 % interval {_interval(score)}, n = {score['n']:,}"
    mark = element("circle", cx=x, cy=_y(score["accuracy"]), r=5, class_="mark")
    return element("g", element("title", figures), whisker, mark)
