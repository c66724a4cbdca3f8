"""Pose: the problems of a split, in order, as cells that the following steps work through side by side."""

from storage.errors import UserMistake
from storage.manifest import Accounting, Manifest, Output
from storage.shards import Shards
from tasks.caching import cached_task
from tasks.ingredients import problems_code
from tasks.problems.registry import load
from tasks.runtime import Runtime

CORPUS = "corpus"
"""The pseudo-split of worked examples that a set brings for pre-training."""


@cached_task("problems", source=problems_code)
def pose(source: str, split: str, start: int, count: int, cell_rows: int, runtime: Runtime) -> Output:
    """`count` problems from position `start`, one shard a cell of at most `cell_rows`.

    A problem that comes twice is given once; a corpus keeps what it says twice. One that was forgotten is left out of its
    cell, so that the other cells stay what they were. Raises UserMistake when the split has none there.
    """
    problem_set = load(source)
    if split == CORPUS:
        rows = given = problem_set.corpus(start, count)
    else:
        given = problem_set.take(split, start, count)
        rows = list({problem.problem_id: problem for problem in given}.values())
    if not rows:
        raise UserMistake(
            f"{source} has no {split} problems from position {start} on; ask for fewer, or name a set that has some"
        )
    parts = [
        [problem for problem in rows[first : first + cell_rows] if not runtime.tombstones.bar_problem(problem)]
        for first in range(0, len(rows), cell_rows)
    ]
    manifest = sum((runtime.shards.write("problem", part) for part in parts), start=Manifest("problem", (), 0))
    if not manifest.rows:
        raise UserMistake(f"all {split} problems of {source} from position {start} on were forgotten; name another set")
    return Output(
        {"problems": manifest},
        Accounting(asked=len(given), ok=manifest.rows, rejected=len(given) - manifest.rows),
        {"licence": problem_set.licence},
    )


def cells(problems: Manifest, shards: Shards) -> list[Manifest]:
    """One manifest a shard."""
    return [Manifest("problem", (shard,), shards.rows("problem", shard)) for shard in problems.shards]
