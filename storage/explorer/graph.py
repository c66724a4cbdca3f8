"""The graph around one thing: what it came from on the left, what it went into on the right.

    >>> web = attempt_web(catalogue, details, members)
    >>> [(edge.start, edge.said, edge.end) for edge in web.edges]
    [('checkpoint:894c…', 'wrote', 'attempt:4a7e…'), …]

Every node is a page with a graph of its own, so the whole lineage is walked by going from one to the next; a graph goes two
checkpoints far in both directions and says how many more there are.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from storage.explorer.catalogue import Catalogue
from storage.explorer.details import ExampleDetails, Judged, Member, Piece, Told
from storage.identity import PREFIXES, show
from storage.records import Problem, Prompt
from storage.report.text import plain

MOST = 5
"""Nodes of one kind beside each other; the rest is one node that counts them."""

PREFIX = {kind: prefix for prefix, kind in PREFIXES.items()}


@dataclass(frozen=True, slots=True)
class Node:
    """A thing in a graph. `tone` is its class in the style sheet; without an `href` it leads nowhere."""

    key: str
    kind: str
    title: str
    note: str = ""
    href: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """`start` was there first: it wrote, was judged by, went into `end`."""

    start: str
    end: str
    said: str


@dataclass(slots=True)
class Web:
    """Nodes and edges around the node `focus`."""

    focus: str = ""
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def add(self, kind: str, identity: str, title: str = "", note: str = "", tone: str = "") -> str:
        """A thing with a page of its own; its key."""
        key = f"{kind}:{identity}"
        if key not in self.nodes:
            self.nodes[key] = Node(
                key, kind, title or short(kind, identity), brief(note, 31), f"/{kind}/{identity}", tone
            )
        return key

    def more(self, near: str, title: str, note: str = "", href: str = "") -> str:
        """A node for what is not drawn one by one."""
        key = f"more:{near}:{title}"
        self.nodes.setdefault(key, Node(key, "more", title, note, href))
        return key

    def link(self, start: str, end: str, said: str) -> None:
        """Two things that are linked in several ways have one edge that says all of them."""
        if start == end:
            return
        there = next((n for n, one in enumerate(self.edges) if (one.start, one.end) == (start, end)), None)
        if there is None:
            self.edges.append(Edge(start, end, said))
        elif said and said not in self.edges[there].said.split(", "):
            self.edges[there] = Edge(start, end, ", ".join(filter(None, [self.edges[there].said, said])))


def short(kind: str, identity: str) -> str:
    """An id as lists and graphs show it."""
    return show(PREFIX[kind], identity)[:12] if kind in PREFIX else identity[:8]


def brief(text: str, most: int = 24) -> str:
    """As much of a text as a node has room for."""
    shown = plain(text, most)
    return shown if len(shown) <= most + 1 else f"{shown[:most]}…"


def attempt_web(
    catalogue: Catalogue, told: Told, parents: Sequence[Told], children: Sequence[Told], roles: dict[str, str],
    evidence: Sequence[Piece], members: dict[str, list[Member]],
) -> Web:  # fmt: skip
    """Around an attempt: problem, prompt and writer; verdicts, examples, training sets and checkpoints."""
    web = Web()
    web.focus = key = _add_attempt(web, told)
    _origin_of_attempt(web, catalogue, told)
    for parent in parents[:MOST]:
        web.link(_add_attempt(web, parent), key, roles.get(parent.attempt.attempt_id, "led to"))
    for child in children[:MOST]:
        web.link(key, _add_attempt(web, child), roles.get(child.attempt.attempt_id, "led to"))
    _verdicts(web, key, told.verdicts)
    for example_id in list(dict.fromkeys(one.example_id for one in evidence))[:MOST]:
        example = web.add("example", example_id)
        web.link(key, example, "became")
        _uses(web, catalogue, example, members.get(example_id, []))
    return web


def example_web(catalogue: Catalogue, details: ExampleDetails) -> Web:
    """Around an example: its evidence on one side, its training sets and their checkpoints on the other."""
    web = Web()
    web.focus = key = web.add("example", details.example.example_id, note=brief(details.example.prompt))
    for piece in details.evidence[:MOST]:
        told = details.told.get(piece.attempt_id or "")
        if told:
            attempt = _add_attempt(web, told)
            _origin_of_attempt(web, catalogue, told)
            web.link(attempt, key, piece.origin)
        else:
            web.link(web.add("problem", piece.problem_id), key, piece.origin)
    if len(details.evidence) > MOST:
        web.link(web.more(key, f"{len(details.evidence) - MOST:,} more pieces of evidence"), key, "")
    _uses(web, catalogue, key, details.members)
    return web


def checkpoint_web(catalogue: Catalogue, checkpoint_id: str, attempts: int) -> Web:
    """Around a checkpoint: base and training set; what it wrote, and what was made of that."""
    web = Web()
    web.focus = key = _add_checkpoint(web, catalogue, checkpoint_id)
    _above(web, catalogue, checkpoint_id, 2)
    if attempts:
        href = f"/attempts?checkpoint={checkpoint_id}"
        web.link(key, web.more(key, f"{attempts:,} attempts", "that it wrote", href), "wrote")
    _below(web, catalogue, checkpoint_id, 2)
    return web


def mix_web(catalogue: Catalogue, mix_id: str, rows: Sequence[tuple[str, int]]) -> Web:
    """Around a training set: whose words it has, and what was trained on it."""
    web = Web()
    total = sum(count for _, count in rows)
    web.focus = key = web.add("mix", mix_id, note=f"{total:,} rows")
    _writers(web, catalogue, mix_id, 1)
    for origin, count in rows:
        if origin in ("original", "corpus"):
            web.link(web.more(key, f"{count:,} {origin}", "given data"), key, origin)
    for checkpoint_id in catalogue.trained.get(mix_id, [])[:MOST]:
        web.link(key, _add_checkpoint(web, catalogue, checkpoint_id), "trained")
        _below(web, catalogue, checkpoint_id, 1)
    return web


def problem_web(problem: Problem, attempts: Iterable[tuple[str, int, int]], evidence: Sequence[Piece]) -> Web:
    """Around a problem: the attempts at it by the checkpoint that made them, and the examples it became."""
    web = Web()
    web.focus = key = web.add("problem", problem.problem_id, note=brief(problem.question))
    if problem.source_attempt_id:
        web.link(web.add("attempt", problem.source_attempt_id), key, "posed")
    groups = list(attempts)
    for checkpoint_id, made, passed in groups[:MOST]:
        href = f"/attempts?problem={problem.problem_id}&checkpoint={checkpoint_id}"
        node = web.more(
            key,
            f"{made:,} attempt{'s' * (made != 1)}",
            f"{passed:,} passed, by {short('checkpoint', checkpoint_id)}",
            href,
        )
        web.link(key, node, "asked of")
    if len(groups) > MOST:
        web.link(
            key,
            web.more(
                key,
                f"{sum(n for _, n, _ in groups[MOST:]):,} more attempts",
                "",
                f"/attempts?problem={problem.problem_id}",
            ),
            "",
        )
    for example_id in list(dict.fromkeys(one.example_id for one in evidence))[:MOST]:
        web.link(key, web.add("example", example_id), "became")
    return web


def prompt_web(prompt: Prompt, attempts: Sequence[str], total: int) -> Web:
    """Around a prompt: the attempts that answer it."""
    web = Web()
    web.focus = key = web.add("prompt", prompt.prompt_id, note=prompt.template)
    for attempt_id in attempts[:MOST]:
        web.link(key, web.add("attempt", attempt_id), "answered by")
    if total > MOST:
        web.link(key, web.more(key, f"{total - MOST:,} more attempts", "", f"/attempts?prompt={prompt.prompt_id}"), "")
    return web


def _add_attempt(web: Web, told: Told) -> str:
    identity = told.attempt.attempt_id
    outcomes = {one.outcome for one in told.verdicts}
    tone = next((one for one in ("rejected", "undecided", "passed") if one in outcomes), "")
    return web.add("attempt", identity, note=brief(told.attempt.text), tone=tone)


def _origin_of_attempt(web: Web, catalogue: Catalogue, told: Told) -> None:
    key = f"attempt:{told.attempt.attempt_id}"
    question = brief(told.problem.question) if told.problem else "forgotten"
    hinted = told.prompt is not None and told.prompt.hinted
    problem = web.add("problem", told.attempt.problem_id, note=question)
    prompt = web.add("prompt", told.attempt.prompt_id, note="with the hint" if hinted else told.prompt.template if told.prompt else "",
                     tone="hinted" if hinted else "")  # fmt: skip
    web.link(problem, prompt, "asked in")
    web.link(prompt, key, "answered by")
    web.link(_add_checkpoint(web, catalogue, told.attempt.checkpoint_id), key, "wrote")
    _above(web, catalogue, told.attempt.checkpoint_id, 1)


def _verdicts(web: Web, key: str, verdicts: Sequence[Judged]) -> None:
    for one in verdicts[:MOST]:
        note = one.outcome if not one.aspect else f"{one.aspect}: {one.outcome}"
        node = f"verdict:{one.verdict_id}"
        web.nodes.setdefault(node, Node(node, "verdict", brief(one.version), note, "#verdicts", one.outcome))
        web.link(key, node, "judged")


def _uses(web: Web, catalogue: Catalogue, example: str, members: Sequence[Member]) -> None:
    mixes = list(dict.fromkeys(one.mix_id for one in members))
    for mix_id in mixes[:MOST]:
        role = next(one.role for one in members if one.mix_id == mix_id)
        mix = web.add("mix", mix_id, note=catalogue.place(mix_id))
        web.link(example, mix, f"as {role}")
        for checkpoint_id in catalogue.trained.get(mix_id, [])[:MOST]:
            web.link(mix, _add_checkpoint(web, catalogue, checkpoint_id), "trained")
            _count_below(web, catalogue, checkpoint_id)
    if len(mixes) > MOST:
        web.link(example, web.more(example, f"{len(mixes) - MOST:,} more training sets"), "in")


def _add_checkpoint(web: Web, catalogue: Catalogue, checkpoint_id: str) -> str:
    made = catalogue.checkpoints.get(checkpoint_id)
    note = catalogue.place(checkpoint_id) or (brief(made.source) if made and made.source else "")
    return web.add("checkpoint", checkpoint_id, note=note)


def _above(web: Web, catalogue: Catalogue, checkpoint_id: str, generations: int) -> None:
    """What a checkpoint was made from."""
    made = catalogue.checkpoints.get(checkpoint_id)
    if made is None:
        return
    key = f"checkpoint:{checkpoint_id}"
    if generations == 0:
        if above := ancestors(catalogue, checkpoint_id) - {checkpoint_id}:
            web.link(
                web.more(
                    key,
                    f"{len(above):,} checkpoint{'s' * (len(above) > 1)}",
                    "before, down to the base",
                    f"/checkpoint/{checkpoint_id}",
                ),
                key,
                "",
            )
        return
    if made.mix_id:
        mix = web.add("mix", made.mix_id, note=catalogue.place(made.mix_id))
        web.link(mix, key, "trained")
        _writers(web, catalogue, made.mix_id, generations - 1)
    if made.base_id and made.base_id != checkpoint_id:
        web.link(_add_checkpoint(web, catalogue, made.base_id), key, "starting weights")


def _writers(web: Web, catalogue: Catalogue, mix_id: str, generations: int) -> None:
    for parent in catalogue.stands_on.get(mix_id, [])[: 2 * MOST]:
        said = f"{parent.examples:,} {parent.relation}" if parent.examples else parent.relation
        web.link(_add_checkpoint(web, catalogue, parent.parent_id), f"mix:{mix_id}", said)
        if generations >= 0:
            _above(web, catalogue, parent.parent_id, generations)


def _below(web: Web, catalogue: Catalogue, checkpoint_id: str, generations: int) -> None:
    """What was made from a checkpoint, through its weights or its words."""
    if generations == 0:
        _count_below(web, catalogue, checkpoint_id)
        return
    key = f"checkpoint:{checkpoint_id}"
    supported = catalogue.supports.get(checkpoint_id, [])
    for mix_id, parent in supported[: 2 * MOST]:
        said = f"{parent.examples:,} {parent.relation}" if parent.examples else parent.relation
        mix = web.add("mix", mix_id, note=catalogue.place(mix_id))
        web.link(key, mix, said)
        for trained in catalogue.trained.get(mix_id, [])[:MOST]:
            web.link(mix, _add_checkpoint(web, catalogue, trained), "trained")
            _below(web, catalogue, trained, generations - 1)
    drawn = {trained for mix_id, _ in supported for trained in catalogue.trained.get(mix_id, [])}
    others = [one for one in catalogue.started.get(checkpoint_id, []) if one not in drawn]
    for one in catalogue.started.get(checkpoint_id, []):
        if f"checkpoint:{one}" in web.nodes:
            web.link(key, f"checkpoint:{one}", "starting weights")
    missing = [one for one in others if f"checkpoint:{one}" not in web.nodes]
    for one in missing[:2]:
        web.link(key, _add_checkpoint(web, catalogue, one), "starting weights")
    if len(missing) > 2:
        web.link(key, web.more(key, f"{len(missing) - 2:,} more checkpoints", "from these weights"), "starting weights")


def _count_below(web: Web, catalogue: Catalogue, checkpoint_id: str) -> None:
    below = descendants(catalogue, checkpoint_id) - {checkpoint_id}
    unseen = [one for one in below if f"checkpoint:{one}" not in web.nodes]
    if unseen:
        key = f"checkpoint:{checkpoint_id}"
        said = f"{len(below):,} checkpoint{'s' * (len(below) > 1)}"
        web.link(key, web.more(key, said, "made from it since", f"/checkpoint/{checkpoint_id}"), "")


def ancestors(catalogue: Catalogue, checkpoint_id: str) -> set[str]:
    """A checkpoint and all that it was made from."""

    def parents(one: str) -> list[str]:
        made = catalogue.checkpoints.get(one)
        if made is None:
            return []
        writers = [parent.parent_id for parent in catalogue.stands_on.get(made.mix_id or "", [])]
        return writers + ([made.base_id] if made.base_id else [])

    return _reached(checkpoint_id, parents)


def descendants(catalogue: Catalogue, checkpoint_id: str) -> set[str]:
    """A checkpoint and all that was made from it."""

    def children(one: str) -> list[str]:
        through = [
            trained for mix_id, _ in catalogue.supports.get(one, []) for trained in catalogue.trained.get(mix_id, [])
        ]
        return through + catalogue.started.get(one, [])

    return _reached(checkpoint_id, children)


def _reached(start: str, step: Callable[[str], list[str]]) -> set[str]:
    seen, waiting = {start}, [start]
    while waiting:
        for one in step(waiting.pop()):
            if one not in seen:
                seen.add(one)
                waiting.append(one)
    return seen
