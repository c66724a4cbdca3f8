"""Two search trees of a run's last iteration, to be looked at: one whose best solution is right, and one whose best is wrong.

The choice is by rule: a tree of middling size, the hardest stratum first, then the id.
"""

from dataclasses import dataclass, field
from typing import Any

import duckdb

from storage.report.arms import Arm, rows

MOST_NODES = 120
"""Nodes of a tree that are shown; those that came later are counted."""

_CHOSEN = (
    "select tree_id, question, gold, stratum, nodes, tokens, solutions, right_solutions, best_value, best_answer, iteration "
    "from v_tree where run_id = $run and step = 'search' and iteration = $iteration and best_passed = $passed "
    "order by coalesce(list_position($hard::varchar[], stratum), 1000), "
    "abs(nodes - (select median(nodes) from v_tree where run_id = $run and step = 'search' and iteration = $iteration)), tree_id "
    "limit 1"
)
_NODES = (
    "select node_id, parent_id, kind, value, visits, terminal, closed, text, passed from v_node "
    "where run_id = $run and iteration = $iteration and step = 'search' and tree_id = $tree order by place"
)


@dataclass(slots=True)
class Branch:
    """A node and what follows it. `mark`: right, wrong or undecided for a complete solution, closed for a dead end, else empty."""

    text: str
    value: float
    visits: int
    kind: str
    mark: str
    note: str
    children: "list[Branch]" = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A tree as the page shows it; `left_out` nodes are not."""

    title: str
    facts: list[tuple[str, str]]
    root: Branch
    left_out: int


def search_trees(cursor: duckdb.DuckDBPyConnection, arm: Arm) -> list[Drawn]:
    """At most two; none where the run did not search."""
    given: dict[str, Any] = {"run": arm.run.run_id}
    last = rows(cursor, "select max(iteration) from v_tree where run_id = ? and step = 'search'", [arm.run.run_id])
    if not last or last[0][0] is None:
        return []
    given |= {"iteration": last[0][0]}
    drawn = []
    for passed, title in ((True, "Its best solution is right"), (False, "Its best solution is wrong")):
        found = cursor.execute(_CHOSEN, given | {"hard": arm.hardest_first, "passed": passed}).fetchone()
        if found is not None:
            drawn.append(_drawn(cursor, given, title, found))
    return drawn


def _drawn(cursor: duckdb.DuckDBPyConnection, given: dict[str, Any], title: str, row: tuple[Any, ...]) -> Drawn:
    tree_id, question, gold, stratum, count, tokens, solutions, right, value, answer, iteration = row
    branches: dict[Any, Branch] = {}
    root: Branch | None = None
    found = cursor.execute(_NODES, given | {"tree": tree_id}).fetchall()
    for node_id, parent_id, kind, worth, visits, terminal, closed, text, passed in found[: MOST_NODES + 1]:
        mark = {True: "right", False: "wrong", None: "undecided"}[passed] if terminal else "closed" if closed else ""
        branches[node_id] = Branch(text or "", worth, visits, kind, mark, closed or "")
        if parent_id is None:
            root = branches[node_id]
        else:
            branches[parent_id].children.append(branches[node_id])
    facts = [
        ("iteration", iteration), ("question", question), ("gold answer", gold), ("stratum", stratum), ("nodes", count),
        ("tokens", tokens), ("complete solutions", f"{solutions}, {right} right"), ("its best answer", answer),
        ("valued", f"{value:.2f}"),
    ]  # fmt: skip
    assert root is not None  # a tree has its root
    said = [(name, str(one)) for name, one in facts if one is not None]
    return Drawn(title, said, root, max(0, len(found) - MOST_NODES - 1))
