"""Health: what an iteration's attempts and its dev answers say of the loop, beside how many of them were right.

    pass@1 62 %, pass@8 91 %, 3.1 distinct solutions a solved problem, 24.0 tokens, 2 % of the kept rationales with a wrong step,
    12 of 310 solved dev problems lost

Only rows that are there are read, cell by cell: nothing is generated and nothing is judged.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb

from storage.manifest import Accounting, Output
from storage.records import Attempt, Verdict
from tasks.caching import cached_task
from tasks.composition import SAMPLED
from tasks.engines.protocol import FAILED
from tasks.equations import path_of
from tasks.rewards import Judged
from tasks.runtime import Runtime
from tasks.verify import outcomes


@cached_task("health")
def health(
    judged: tuple[Judged, ...],
    audited: tuple[Judged, ...],
    before: tuple[Judged, ...],
    dev: tuple[Judged, ...],
    dev_before: tuple[Judged, ...],
    runtime: Runtime,
) -> Output:
    """The figures of an iteration. `audited`: the second verifier's verdicts on the attempts of `judged`; `before`: the iteration before,
    where it asked the same problems; `dev` and `dev_before`: dev as this iteration's model and the one before it answered it.
    """
    sampled = [cell for cell in judged if cell.origin == SAMPLED]
    tally = Tally()
    for cell in sampled:
        runtime.check_cancelled()
        tally.add(_rows(cell, runtime))
    now, then = _marks(sampled, runtime) if before else {}, _marks(before, runtime)
    dev_now, dev_then = _marks(dev, runtime), _marks(dev_before, runtime)
    asked = sum(cell.attempts.rows for cell in (*judged, *dev))
    facts: dict[str, object] = {
        **tally.figures(),
        "train_changes": changes(then, now),
        "dev_changes": changes(dev_then, dev_now),
        "unsound": unsound(judged, audited, runtime),
    }
    return Output({}, Accounting(asked, ok=asked), facts)


def pass_at(n: int, right: int, k: int) -> float:
    """The unbiased estimate of pass@k from `right` of `n` attempts: 1 - C(n - right, k) / C(n, k) (Chen et al. 2021, section 2.1)."""
    return 1.0 if n - right < k else 1 - comb(n - right, k) / comb(n, k)


def pass_curve(counts: Mapping[tuple[int, int], int]) -> list[float]:
    """pass@1..K from how many problems have (n decided attempts, right of them), K the largest n; the mean over the problems
    with at least k decided attempts.
    """
    curve = []
    for k in range(1, max((n for n, _ in counts), default=0) + 1):
        enough = {key: count for key, count in counts.items() if key[0] >= k}
        curve.append(sum(pass_at(*key, k) * count for key, count in enough.items()) / sum(enough.values()))
    return curve


def changes(before: Mapping[str, bool], now: Mapping[str, bool]) -> dict[str, int] | None:
    """Of the problems that were decided both times: how many were solved before, and how many were newly solved and lost; None where
    there are none.
    """
    shared = before.keys() & now.keys()
    if not shared:
        return None
    return {
        "shared": len(shared),
        "solved_before": sum(before[one] for one in shared),
        "gained": sum(now[one] and not before[one] for one in shared),
        "lost": sum(before[one] and not now[one] for one in shared),
    }


@dataclass(frozen=True, slots=True)
class Row:
    """An attempt as far as it is counted here."""

    attempt: Attempt
    passed: bool | None


@dataclass
class Tally:
    """Attempts without a hint, added up cell by cell; all attempts of a problem are in one cell."""

    counts: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Problems by (decided attempts, right ones)."""
    distinct: int = 0
    undecided: int = 0
    failed: int = 0
    finished: int = 0
    characters: int = 0
    tokens: int = 0
    uncounted: int = 0

    def add(self, rows: Iterable[Row]) -> None:
        """Take in a cell."""
        of_problem: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        solutions: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            if row.attempt.finish_reason == FAILED:
                self.failed += 1
                continue
            self.finished += 1
            self.characters += len(row.attempt.text)
            self.tokens += row.attempt.tokens or 0
            self.uncounted += row.attempt.tokens is None
            if row.passed is None:
                self.undecided += 1
                continue
            of_problem[row.attempt.problem_id][0] += 1
            of_problem[row.attempt.problem_id][1] += row.passed
            if row.passed:
                solutions[row.attempt.problem_id].add(path_of(row.attempt.text.strip()))
        self.counts.update((n, right) for n, right in of_problem.values())
        self.distinct += sum(map(len, solutions.values()))

    def figures(self) -> dict[str, object]:
        """What it adds up to; None where nothing was there to count. A length is in tokens where an engine counted all of them."""
        problems = sum(self.counts.values())
        solved = sum(count for (_, right), count in self.counts.items() if right)
        right = sum(right * count for (_, right), count in self.counts.items())
        return {
            "problems": problems,
            "solved": solved,
            "pass_at": pass_curve(self.counts),
            "distinct_solutions": self.distinct / solved if solved else None,
            "right_attempts": right / solved if solved else None,
            "mean_tokens": self.tokens / self.finished if self.finished and not self.uncounted else None,
            "mean_characters": self.characters / self.finished if self.finished else None,
            "undecided_share": self.undecided / self.finished if self.finished else None,
        }


def unsound(judged: Sequence[Judged], audited: Sequence[Judged], runtime: Runtime) -> dict[str, dict[str, int]]:
    """By origin: how many attempts that passed were audited with a decision, and how many of those the audit fails."""
    found: dict[str, dict[str, int]] = {}
    second = {cell.attempts.shards: cell for cell in audited}
    for cell in judged:
        if (other := second.get(cell.attempts.shards)) is None:
            continue
        first = outcomes(runtime.shards.iterate(cell.verdicts, Verdict))
        audit = outcomes(runtime.shards.iterate(other.verdicts, Verdict))
        decided = [audit[key][0] for key, (passed, _) in first.items() if passed and audit[key][0] is not None]
        counts = found.setdefault(cell.origin, {"judged": 0, "wrong": 0})
        counts["judged"] += len(decided)
        counts["wrong"] += sum(not passed for passed in decided)
    return found


def _rows(cell: Judged, runtime: Runtime) -> Iterable[Row]:
    outcome = outcomes(runtime.shards.iterate(cell.verdicts, Verdict))
    for attempt in runtime.shards.iterate(cell.attempts, Attempt):
        yield Row(attempt, outcome[attempt.attempt_id][0])


def _marks(cells: Sequence[Judged], runtime: Runtime) -> dict[str, bool]:
    """Problem to whether one of its decided attempts was right."""
    solved: dict[str, bool] = {}
    for cell in cells:
        for row in _rows(cell, runtime):
            if row.passed is not None and row.attempt.finish_reason != FAILED:
                solved[row.attempt.problem_id] = solved.get(row.attempt.problem_id, False) or row.passed
    return solved
