"""A tree of partial solutions, searched by value: MCTS* of ReST-MCTS* (Zhang et al. 2024, section 3.2), without any model.

    >>> tree = Tree(SearchRule(branch=2, rollout_steps=1))
    >>> node = tree.select()                                            # the root
    >>> new = tree.expand(node, [Step("8907"), Step("8906")])
    >>> new[0].value, new[1].value = 0.2, 0.1                           # by whoever knows
    >>> best = tree.to_roll(new)                                        # new[0]
    >>> tree.roll(best, Step("2710")).value = 0.4
    >>> tree.settle(best or node)
    >>> best.value, best.visits, tree.root.value                        # (1 - alpha) 0.2 + alpha 0.4
    (0.3, 1, 0.3)

A round selects from the root by V + c sqrt(2 ln N_parent / n), unvisited children first, the most valuable of them before;
expands what it came to; rolls out greedily from the best new child; mixes, V <- (1 - alpha) V + alpha max V of the roll-out; and
backs up: every node on the way counts a visit and takes the visit-weighted mean of its children. It ends at a selected node with
V >= end_gate, after `rounds`, or when nothing is left that could be continued.

Nobody has looked at a gold answer so far. `process_values` infers from a finished tree, once its solutions are verified, what
each step was worth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, log, sqrt
from typing import Any

GOES_ON, ENDS, CUT, FAILED = "goes on", "ends", "cut", "failed"
"""How a step ended: another can follow; the solution is complete; the step never came to its own end; nothing could be written."""

ROOT, EXPANDED, ROLLED, COMPLETED = "root", "expanded", "rolled", "completed"
"""How a node came about. Only expanded ones are selected and backed up; a roll-out informs the value of the child it started at."""


@dataclass(frozen=True, slots=True)
class SearchRule:
    """How a tree grows. `exploration` is c; a solution has at most `max_steps` steps."""

    exploration: float = 0.5
    branch: int = 3
    rollout_steps: int = 2
    alpha: float = 0.5
    end_gate: float = 0.8
    rounds: int = 50
    max_steps: int = 16


@dataclass(frozen=True, slots=True)
class Step:
    """One step as it was written. `written` is whatever its writer wants to find again; `why` says what went wrong."""

    text: str
    ending: str = GOES_ON
    written: Any = None
    why: str = ""


@dataclass(eq=False, slots=True)
class Node:
    """A partial solution: all steps from the root to this one. `closed` says why it is not continued; empty where it can be."""

    parent: "Node | None"
    step: Step
    kind: str
    place: int
    depth: int
    solution: str
    times: int = 1
    """How often it was written."""
    value: float = 0.0
    visits: int = 0
    closed: str = ""
    done_with: bool = False
    """Nothing below it is left to select."""
    children: "list[Node]" = field(default_factory=list)
    """The expanded ones."""

    @property
    def finished(self) -> bool:
        """Whether it is a complete solution."""
        return self.step.ending == ENDS

    @property
    def open(self) -> bool:
        """Whether a step can follow it."""
        return not self.finished and not self.closed


class Tree:
    """One problem's search. `nodes` holds every node in the order in which they came; a parent stands before its children."""

    def __init__(self, rule: SearchRule) -> None:
        self.rule = rule
        self.root = Node(None, Step(""), ROOT, 0, 0, "")
        self.nodes = [self.root]
        self.rounds = 0
        self.reached: Node | None = None
        """The selected node whose value came to the end gate."""

    def select(self) -> Node | None:
        """Begin a round: the node to expand. None once the search is over."""
        while self.rounds < self.rule.rounds and self.reached is None and not self.root.done_with:
            self.rounds += 1
            node = self.root
            while node.children:
                node = self._best_child(node)
            if node is not self.root and node.value >= self.rule.end_gate and not node.closed:
                self.reached = node
            elif node.open:
                return node
            else:
                self._retire(node)
                self._back_up(node)
        return None

    def expand(self, node: Node, steps: Sequence[Step]) -> list[Node]:
        """The node's children, to be given values: what was written twice is one of them, and an empty step is none.

        Without any the node is closed.
        """
        sound = [step for step in steps if step.ending == ENDS or (step.ending != FAILED and step.text.strip())]
        written = list({step.text: step for step in reversed(sound)}.values())[::-1]
        node.children = [self._add(node, step, EXPANDED) for step in written]
        for child in node.children:
            child.times = sum(step.text == child.step.text for step in sound)
        if not node.children:
            node.closed = next((step.why for step in steps if step.why), "no step followed")
            self._retire(node)
        return list(node.children)

    def to_roll(self, new: Sequence[Node]) -> Node | None:
        """The new child from which to roll out: the most valuable, if a step can follow it."""
        best = best_of(new)
        return best if best is not None and best.open and self.rule.rollout_steps else None

    def roll(self, node: Node, step: Step, kind: str = ROLLED) -> Node | None:
        """A greedy step after a node, to be given a value; None where nothing came of it."""
        if step.ending == FAILED or (step.ending != ENDS and not step.text.strip()):
            return None
        return self._add(node, step, kind)

    def settle(self, node: Node, rolled: Sequence[Node] = ()) -> None:
        """End a round at its best new child (or, where there is none, at the node itself): mix in the roll-out, and back up."""
        if rolled:
            alpha = self.rule.alpha
            node.value = (1 - alpha) * node.value + alpha * max(one.value for one in rolled)
        self._back_up(node)

    def finished(self) -> list[Node]:
        """The complete solutions, those that roll-outs came to among them."""
        return [node for node in self.nodes if node.finished]

    def to_complete(self) -> Node | None:
        """Where there is no complete solution: the node to write one from, the one at the gate or else the most valuable."""
        if any(node.finished for node in self.nodes):
            return None
        if self.reached is not None:
            return self.reached
        return best_of([node for node in self.nodes if node.open and not node.children])

    def _best_child(self, node: Node) -> Node:
        left = [child for child in node.children if not child.done_with]
        return max(left, key=lambda child: (upper_bound(child, node.visits, self.rule.exploration), child.value))

    def _add(self, parent: Node, step: Step, kind: str) -> Node:
        node = Node(parent, step, kind, len(self.nodes), parent.depth + 1, parent.solution + step.text)
        if step.ending == CUT:
            node.closed = step.why or "its last step came to no end"
        elif not node.finished and node.depth >= self.rule.max_steps:
            node.closed = f"no end after {node.depth} steps"
        self.nodes.append(node)
        return node

    def _retire(self, node: Node) -> None:
        """Nothing below this node is left; nor then below those all of whose children that holds for."""
        above: Node | None = node
        while above is not None and all(child.done_with for child in above.children):
            above.done_with = True
            above = above.parent

    def _back_up(self, node: Node) -> None:
        above: Node | None = node
        while above is not None:
            above.visits += 1
            if visits := sum(child.visits for child in above.children):
                above.value = sum(child.value * child.visits for child in above.children) / visits
            above = above.parent


def upper_bound(child: Node, parent_visits: int, exploration: float) -> float:
    """V + c sqrt(2 ln N / n); without limit for what was never visited."""
    if not child.visits:
        return inf
    return child.value + exploration * sqrt(2 * log(max(1, parent_visits)) / child.visits)


def best_of(nodes: Sequence[Node]) -> Node | None:
    """The most valuable, the first of equals."""
    return max(nodes, key=lambda node: node.value, default=None)


def by_summed_value(values: Sequence[float], answers: Sequence[str | None]) -> int | None:
    """Which solution stands for the answer with the largest sum of values: the most valuable of those that give it.

    Solutions without an answer have no say. None where no solution has one.
    """
    sums: dict[str, float] = {}
    for value, answer in zip(values, answers, strict=True):
        if answer is not None:
            sums[answer] = sums.get(answer, 0.0) + value
    if not sums:
        return None
    chosen = max(sums, key=lambda answer: sums[answer])
    return max((place for place, answer in enumerate(answers) if answer == chosen), key=lambda place: values[place])


def process_values(parents: Sequence[int | None], right: Mapping[int, bool]) -> dict[int, float]:
    """What each step of a finished tree was worth: place to value, for every node on the way to a verified solution.

    `parents` are places, each before its children's; `right` says of complete solutions whether they are. Section 3.1:
    v = max(v_parent + w, 0), w = (1 - v_parent) / (m + 1) (1 - 2 r), with m the steps still needed after this one. On the way to a
    right solution r = 0 and m counts the steps to the nearest; a step off the way has r = 1 and brings nobody nearer, so its m
    is that of the place where the way was left. Where no solution is right all values are 0.
    """
    needed = {place: 0 for place, passed in right.items() if passed}
    for place in range(len(parents) - 1, -1, -1):
        above = parents[place]
        if above is not None and place in needed:
            needed[above] = min(needed.get(above, needed[place] + 1), needed[place] + 1)
    led_to: set[int] = set()
    for leaf in right:
        place: int | None = leaf
        while place is not None and place not in led_to:
            led_to.add(place)
            place = parents[place]
    values: dict[int, float] = {}
    still: dict[int, int] = {}
    for place in sorted(led_to):
        above = parents[place]
        if above is None:
            values[place], still[place] = 0.0, needed.get(place, 0)
            continue
        still[place] = needed.get(place, still[above])
        sign = 1 if place in needed else -1
        values[place] = max(0.0, values[above] + (1 - values[above]) / (still[place] + 1) * sign)
    return {place: value for place, value in values.items() if parents[place] is not None}
