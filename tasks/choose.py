"""Choose: which of a fixed pool of problems an iteration samples, by how long ago each was visited and how often it is solved.

AdaSTaR (Koh et al. 2025, arXiv 2505.16322, algorithm 1): a heap of problems with the smallest (iteration of the last visit, win
rate) on top, ties by place in the pool. An iteration takes from the top; once it is over, the first floor(m · a²) of the m that it
took, in that order, count as visited, with their win rate, where `a` is the share of its attempts that were right. The others
stay as they were and come again soon: while the model is weak, easy problems among them too.

Departures: an iteration takes a fixed number of problems, where the paper takes as many as give a full batch of right answers;
an attempt that is undecided or failed counts for neither side, and a problem without a decided one has a win rate of 0.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Problem, Verdict
from tasks.caching import cached_task
from tasks.propose import in_cells
from tasks.runtime import Runtime
from tasks.verify import outcomes


@dataclass(frozen=True, slots=True)
class Visited:
    """A cell of an earlier iteration: the problems it took, in order, and what became of the attempts at them."""

    iteration: int
    problems: Manifest
    attempts: Manifest
    verdicts: Manifest
    outcomes: str

    def canonical(self) -> object:
        """What of it enters a key: what came out, not who judged."""
        return [self.iteration, list(self.problems.shards), list(self.attempts.shards), self.outcomes]


@dataclass(frozen=True, slots=True)
class Record:
    """A problem's record in one iteration."""

    right: int = 0
    decided: int = 0

    @property
    def win_rate(self) -> float:
        return self.right / self.decided if self.decided else 0.0


class Heap:
    """The problems of a pool by (iteration of the last visit, win rate, place)."""

    def __init__(self, count: int) -> None:
        self._heap: list[tuple[int, float, int]] = [(0, 0.0, place) for place in range(count)]

    def take(self, count: int) -> list[tuple[int, float, int]]:
        """The `count` smallest, taken off."""
        return [heapq.heappop(self._heap) for _ in range(min(count, len(self._heap)))]

    def visit(self, iteration: int, taken: Sequence[tuple[int, float, int]], records: Mapping[int, Record]) -> None:
        """Puts back what an iteration took: the first floor(m · a²) as visited, the rest as it was."""
        decided = sum(one.decided for one in records.values())
        share = sum(one.right for one in records.values()) / decided if decided else 0.0
        updated = int(len(taken) * share * share)
        for order, (last, rate, place) in enumerate(taken):
            fresh = (iteration, records.get(place, Record()).win_rate, place)
            heapq.heappush(self._heap, fresh if order < updated else (last, rate, place))


@cached_task("choose problems")
def choose(pool: Manifest, history: tuple[Visited, ...], count: int, cell_rows: int, runtime: Runtime) -> Output:
    """The `count` problems of the pool that are on top after all earlier iterations, in that order, one shard a cell."""
    problems = runtime.shards.read(pool, Problem)
    place_of = {problem.problem_id: place for place, problem in enumerate(problems)}
    heap = Heap(len(problems))
    for iteration in sorted({one.iteration for one in history}):
        cells = [one for one in history if one.iteration == iteration]
        records: dict[int, Record] = {}
        asked = 0
        for cell in cells:
            found = _records(cell, runtime)
            asked += sum(problem_id in place_of for problem_id in found)
            records |= {place_of[problem_id]: one for problem_id, one in found.items() if problem_id in place_of}
        heap.visit(iteration, heap.take(asked), records)
    taken = heap.take(count)
    chosen = [problems[place] for _, _, place in taken]
    visited = [one for one in taken if one[0]]
    return Output(
        {"problems": in_cells(chosen, cell_rows, runtime)},
        Accounting(asked=len(problems), ok=len(chosen), rejected=len(problems) - len(chosen)),
        {
            "fresh": len(chosen) - len(visited),
            "win_rate": sum(rate for _, rate, _ in visited) / len(visited) if visited else None,
            "oldest": min((last for last, _, _ in taken), default=0),
        },
    )


def _records(cell: Visited, runtime: Runtime) -> dict[str, Record]:
    """Every problem of a cell with its record, by id."""
    outcome = outcomes(runtime.shards.iterate(cell.verdicts, Verdict))
    found = {problem.problem_id: Record() for problem in runtime.shards.iterate(cell.problems, Problem)}
    for attempt in runtime.shards.iterate(cell.attempts, Attempt):
        passed = outcome[attempt.attempt_id][0]
        if passed is not None:
            before = found[attempt.problem_id]
            found[attempt.problem_id] = Record(before.right + passed, before.decided + 1)
    return found
