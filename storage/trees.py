"""Search trees as the ledger has them: what each came to, and its nodes.

>>> for tree in trees(lineage, run_id, iteration=1)[:1]:
...     tree.question, tree.nodes, tree.solutions, tree.best_passed
('00628+00579', 41, 3, True)
"""

from dataclasses import dataclass

from storage.identity import bare
from storage.lineage import Lineage


@dataclass(frozen=True, slots=True)
class SearchTree:
    """A tree in a step of a run. `best_…` are of the most valuable complete solution; `tokens` were written for all nodes."""

    iteration: int
    step: str
    tree_id: str
    problem_id: str
    question: str | None
    gold: str | None
    stratum: str | None
    nodes: int
    depth: int
    tokens: int | None
    solutions: int
    right_solutions: int
    undecided: int
    closed: int
    best_value: float | None
    best_answer: str | None
    best_passed: bool | None


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A node with the step that it is; `passed` is of the solution that it completes."""

    place: int
    node_id: str
    parent_id: str | None
    depth: int
    kind: str
    value: float
    visits: int
    terminal: bool
    closed: str | None
    text: str | None
    tokens: int | None
    solution_id: str | None
    passed: bool | None
    answer: str | None


def trees(lineage: Lineage, run_id: str, iteration: int) -> list[SearchTree]:
    """The trees of an iteration, by step and question."""
    where = "run_id = ? and iteration = ?"
    return lineage.read(SearchTree, "v_tree", where, [bare(run_id), iteration], "step, question, tree_id")


def nodes(lineage: Lineage, run_id: str, iteration: int, tree_id: str) -> list[TreeNode]:
    """A tree's nodes, a parent before its children."""
    where = "run_id = ? and iteration = ? and tree_id = ?"
    return lineage.read(TreeNode, "v_node", where, [bare(run_id), iteration, bare(tree_id)], "place")
