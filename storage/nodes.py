"""The record of a search tree's nodes (see `tasks.tree`); a row of the ledger like those in `storage.records`."""

from dataclasses import dataclass
from typing import ClassVar

from storage.identity import content_id


@dataclass(frozen=True, slots=True)
class Node:
    """One step in the search tree of a problem. The root, which has no step, has neither parent nor attempt.

    `attempt_id` is the step as it was written (its prompt is everything before it), `solution_id` the whole solution as an
    attempt, where the step completes one (`terminal`). `place` counts a tree's nodes in the order in which they came; `kind` is
    root, expanded, rolled (a greedy look ahead) or completed (written on after the search). `value` is what the search came to,
    0-1; `closed` says why nothing could follow. No text stands here: what a node says is in its attempt.
    """

    TABLE: ClassVar[str] = "node"
    node_id: str
    tree_id: str
    problem_id: str
    checkpoint_id: str
    value_checkpoint_id: str | None
    parent_id: str | None
    attempt_id: str | None
    solution_id: str | None
    place: int
    depth: int
    kind: str
    value: float
    visits: int
    terminal: bool
    closed: str | None

    @staticmethod
    def identity(tree_id: str, place: int) -> str:
        return content_id("node", tree=tree_id, place=place)
