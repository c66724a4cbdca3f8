"""Pose: the problems of a split, in order, as cells that the following steps work through side by side."""

from storage.errors import UserMistake
from storage.manifest import Accounting, Manifest, Output
from tasks.caching import cached_task
from tasks.ingredients import problems_code
from tasks.problems.registry import load
from tasks.runtime import Runtime

CORPUS = "corpus"
"""The pseudo-split of worked examples that a set brings for pre-training."""


@cached_task("problems", source=problems_code)
def pose(source: str, split: str, start: int, count: int, cell_rows: int, runtime: Runtime) -> Output:
    """`count` problems from position `start`, one shard a cell of at most `cell_rows`.

    A problem that comes twice is given once; a corpus keeps what it says twice.
    Raises UserMistake when the split has none there.
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
    manifest = runtime.shards.write("problem", rows, rows_per_shard=cell_rows)
    return Output(
        {"problems": manifest},
        Accounting(asked=len(given), ok=len(rows), rejected=len(given) - len(rows)),
        {"licence": problem_set.licence},
    )


def cells(problems: Manifest, cell_rows: int) -> list[Manifest]:
    """One manifest a shard."""
    left = problems.rows
    parts: list[Manifest] = []
    for shard in problems.shards:
        parts.append(Manifest("problem", (shard,), min(cell_rows, left)))
        left -= parts[-1].rows
    return parts
