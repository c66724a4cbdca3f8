"""Pose: the problems of a split, in order, as cells that the following steps work through side by side."""

from collections.abc import Iterator
from itertools import islice

from storage.errors import UserMistake
from storage.id_tally import IdTally, id_array
from storage.manifest import Accounting, Manifest, Output
from storage.records import Problem
from storage.shards import Shards
from tasks.caching import cached_task
from tasks.ingredients import problems_code
from tasks.problems.registry import load
from tasks.runtime import Runtime

CORPUS = "corpus"
"""The pseudo-split of worked examples that a set brings for pre-training."""

BATCH_ROWS = 5_000
"""Problems asked of a set at once: a million of them are never in memory together."""


@cached_task("problems", source=problems_code)
def pose(source: str, split: str, start: int, count: int, cell_rows: int, runtime: Runtime) -> Output:
    """`count` problems from position `start`, one shard a cell of at most `cell_rows`.

    A problem that comes twice is given once; a corpus keeps what it says twice. One that was forgotten is left out of its
    cell, so that the other cells stay what they were. Raises UserMistake when the split has none there.
    """
    problem_set = load(source)
    given = 0

    def taken() -> Iterator[Problem]:
        nonlocal given
        seen = IdTally()
        for first in range(start, start + count, BATCH_ROWS):
            runtime.check_cancelled()
            wanted = min(BATCH_ROWS, start + count - first)
            rows = problem_set.corpus(first, wanted) if split == CORPUS else problem_set.take(split, first, wanted)
            given += len(rows)
            earlier = seen.add(id_array([problem.problem_id for problem in rows]))
            yield from (row for row, times in zip(rows, earlier, strict=True) if split == CORPUS or not times)
            if len(rows) < wanted:
                return

    manifest, rest = Manifest("problem", (), 0), taken()
    while cell := list(islice(rest, cell_rows)):
        kept = [problem for problem in cell if not runtime.tombstones.bar_problem(problem)]
        manifest += runtime.shards.write("problem", kept)
    if not given:
        raise UserMistake(
            f"{source} has no {split} problems from position {start} on; ask for fewer, or name a set that has some"
        )
    if not manifest.rows:
        raise UserMistake(f"all {split} problems of {source} from position {start} on were forgotten; name another set")
    return Output(
        {"problems": manifest},
        Accounting(asked=given, ok=manifest.rows, rejected=given - manifest.rows),
        {"licence": problem_set.licence},
    )


def cells(problems: Manifest, shards: Shards) -> list[Manifest]:
    """One manifest a shard."""
    return [Manifest("problem", (shard,), shards.rows("problem", shard)) for shard in problems.shards]


@cached_task("first problems")
def pick_first(problems: Manifest, count: int, runtime: Runtime) -> Output:
    """The first `count` of these problems, as one cell."""
    rows = list(islice(runtime.shards.iterate(problems, Problem), count))
    return Output({"problems": runtime.shards.write("problem", rows)}, Accounting(len(rows), ok=len(rows)))
