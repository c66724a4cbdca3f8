"""A graph as inline SVG, laid out in columns from left to right, and as the nested list that says the same."""

from collections import defaultdict
from dataclasses import dataclass

from markupsafe import Markup

from storage.explorer.graph import Edge, Node, Web
from storage.report.svg import element
from storage.report.text import plain

WIDE, HIGH, GAP_X, GAP_Y, EDGE = 178, 48, 106, 16, 10
ROOM = 12.5
"""Between two lines that meet a node, so that each has room for its words."""


def drawn(web: Web) -> Markup:
    """The graph of a web; every node that has a page is a link to it."""
    columns = _columns(web)
    tallest = max(len(column) for column in columns)
    height = tallest * (HIGH + GAP_Y) - GAP_Y + 2 * EDGE
    spots: dict[str, tuple[float, float]] = {}
    for n, column in enumerate(columns):
        top = EDGE + (height - 2 * EDGE - len(column) * (HIGH + GAP_Y) + GAP_Y) / 2
        for place, key in enumerate(column):
            spots[key] = (EDGE + n * (WIDE + GAP_X), top + place * (HIGH + GAP_Y))
    width = 2 * EDGE + len(columns) * (WIDE + GAP_X) - GAP_X
    ends = _ends(web, spots)
    lines = [_line(edge, spots, ends[edge]) for edge in web.edges]
    nodes = [_node(web.nodes[key], spots[key], key == web.focus) for column in columns for key in column]
    arrow = element("marker", element("path", d="M0 0L7 3.5L0 7Z"), id="arrow", viewBox="0 0 7 7", refX=6, refY=3.5,
                    markerWidth=7, markerHeight=7, orient="auto")  # fmt: skip
    said = f"Lineage graph with {len(web.nodes)} nodes; the list below it says the same"
    return element(
        "svg", element("defs", arrow), *lines, *nodes, viewBox=f"0 0 {width} {height:.0f}", width=width, height=f"{height:.0f}",
        role="group", aria_label=said, class_="web",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the list: how a node stands to the one above it. `again`: it is further up already."""

    node: Node
    said: str
    again: bool
    below: "list[Step]"


def listed(web: Web, *, upward: bool) -> list[Step]:
    """What the focus came from (`upward`) or went into, as a tree; a node that several paths reach is written out once."""
    neighbours: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for edge in web.edges:
        start, end = (edge.end, edge.start) if upward else (edge.start, edge.end)
        neighbours[start].append((end, edge.said))
    seen = {web.focus}

    def below(key: str) -> list[Step]:
        steps = []
        for other, said in neighbours[key]:
            again = other in seen
            seen.add(other)
            steps.append(Step(web.nodes[other], said, again, [] if again else below(other)))
        return steps

    return below(web.focus)


def _columns(web: Web) -> list[list[str]]:
    ranks = _ranks(web)
    columns: dict[int, list[str]] = defaultdict(list)
    for key in web.nodes:
        columns[ranks[key]].append(key)
    ordered = [columns[rank] for rank in sorted(columns)]
    near: dict[str, list[str]] = defaultdict(list)
    for edge in web.edges:
        near[edge.start].append(edge.end)
        near[edge.end].append(edge.start)
    for sweep in range(8):  # barycentres, forward and back: few crossings, and neighbours near each other
        place = {key: n - len(column) / 2 for column in ordered for n, key in enumerate(column)}
        for column in ordered if sweep % 2 == 0 else ordered[::-1]:
            column.sort(key=lambda key: sum(place[one] for one in near[key]) / len(near[key]) if near[key] else 0.0)
            place |= {key: n - len(column) / 2 for n, key in enumerate(column)}
    return ordered


def _ranks(web: Web) -> dict[str, int]:
    """The column of each node: after all that it came from, and no further left of what it went into than needed."""
    ranks = dict.fromkeys(web.nodes, 0)
    for _ in web.nodes:  # longest paths; a circle ends after as many rounds as there are nodes
        moved = False
        for edge in web.edges:
            if ranks[edge.end] <= ranks[edge.start] < len(web.nodes):
                ranks[edge.end] = ranks[edge.start] + 1
                moved = True
        if not moved:
            break
    for key in sorted(web.nodes, key=lambda one: -ranks[one]):
        after = [ranks[edge.end] for edge in web.edges if edge.start == key]
        if after and key != web.focus:
            ranks[key] = max(ranks[key], min(after) - 1)
    return ranks


def _ends(web: Web, spots: dict[str, tuple[float, float]]) -> dict[Edge, tuple[float, float, bool]]:
    """The height at which each edge leaves and meets its nodes, and whether there is room for its words. Those that meet
    the same node are spread over its side, in the order in which they come."""
    leaves: dict[Edge, float] = {}
    meets: dict[Edge, tuple[float, bool]] = {}
    for key in web.nodes:
        out = sorted((one for one in web.edges if one.start == key), key=lambda one: spots[one.end][1])
        into = sorted((one for one in web.edges if one.end == key), key=lambda one: spots[one.start][1])
        middle = spots[key][1] + HIGH / 2
        for n, one in enumerate(out):
            leaves[one] = middle + _spread(n, len(out))
        for n, one in enumerate(into):
            meets[one] = middle + _spread(n, len(into)), len(into) * ROOM <= HIGH + ROOM
    return {one: (leaves[one], *meets[one]) for one in web.edges}


def _spread(place: int, count: int) -> float:
    step = min(ROOM, (HIGH - 10) / max(count - 1, 1))
    return (place - (count - 1) / 2) * step


def _line(edge: Edge, spots: dict[str, tuple[float, float]], end: tuple[float, float, bool]) -> Markup:
    y1, y2, room = end
    x1, x2 = spots[edge.start][0] + WIDE, spots[edge.end][0] - 2
    bend = max((x2 - x1) * 0.45, 30)
    curve = element("path", element("title", edge.said), d=f"M{x1:.0f} {y1:.0f}C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2:.0f} {y2:.0f}",
                    class_="edge", marker_end="url(#arrow)")  # fmt: skip
    if not edge.said or not room:
        return curve
    words = element(
        "text", _words(edge.said), x=f"{x2 - 10:.0f}", y=f"{y2 - 3.5:.1f}", text_anchor="end", class_="said"
    )
    return Markup("").join([curve, words])


def _words(said: str) -> str:
    first, _, rest = said.partition(", ")
    return plain(f"{first} …" if rest else first, 18)


def _node(node: Node, spot: tuple[float, float], focus: bool) -> Markup:
    x, y = spot
    kind = "" if node.kind == "more" else node.kind
    box = element("rect", x=x, y=y, width=WIDE, height=HIGH, rx=5, class_="box")
    bar = element("rect", x=x, y=y, width=4, height=HIGH, rx=2, class_="bar")
    first = element("text", element("tspan", kind, class_="kind"), element("tspan", f" {node.title}" if kind else node.title, class_="title"),
                    x=x + 13, y=y + (20 if node.note else 29))  # fmt: skip
    second = element("text", node.note, x=x + 13, y=y + 37, class_="note") if node.note else Markup("")
    inner = [element("title", f"{node.kind} {node.title} {node.note}".strip()), box, bar, first, second]
    classes = f"node k-{node.kind}{f' t-{node.tone}' if node.tone else ''}{' focus' if focus else ''}"
    if node.href and not focus:
        return element("a", *inner, href=node.href, class_=classes)
    return element("g", *inner, class_=classes, **({"aria_current": "true"} if focus else {}))
