"""What a report knows about one run, read from the snapshot before anything is drawn.

A run that groups others has no figures of its own; its arms do, one `Arm` each. Whatever has not happened yet is
None or empty here, and a plain sentence on the page.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from storage.answers import Iteration, Run, Step, Yield
from storage.lineage import Lineage
from storage.significance import mcnemar


@dataclass(frozen=True, slots=True)
class Score:
    """An accuracy on one split with its 95 % interval, all as shares; `strata` by name."""

    split: str
    accuracy: float
    low: float
    high: float
    n: int
    strata: dict[str, float | None]
    evaluation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """The same problems before and after: newly solved, lost again, and the exact McNemar p-value (1947) of the two."""

    gained: int
    lost: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of an iteration's attempts at training problems, those with a hint apart."""

    iteration: int
    hinted: bool
    made: int
    kept: int
    rejected: int
    undecided: int
    failed: int


@dataclass(frozen=True, slots=True)
class Soundness:
    """Of the rationales that reached the gold answer and whose steps were judged: how many have a wrong step."""

    iteration: int
    hinted: bool
    judged: int
    wrong: int


@dataclass(frozen=True, slots=True)
class Arm:
    """One run with everything that is shown of it. Times are in seconds; `flips` by iteration."""

    run: Run
    iterations: list[Iteration]
    tallies: list[Tally]
    steps: list[Step]
    soundness: list[Soundness]
    flips: dict[int, Change]
    base_test: Score | None
    final_test: Score | None
    change: Change | None
    wall_s: float
    tokens: int

    @property
    def dev(self) -> list[Score]:
        """The held-out accuracy of each finished iteration that has one, the base first."""
        return [score for one in self.iterations if (score := _dev(one))]

    @property
    def final(self) -> Score | None:
        """The best word on how good the last checkpoint is: test, else dev."""
        return self.final_test or (self.dev[-1] if self.dev else None)

    @property
    def base(self) -> Score | None:
        """The base on the same split as `final`."""
        if self.final_test:
            return self.base_test
        return _dev(self.iterations[0]) if self.iterations and self.iterations[0].iteration == 0 else None

    @property
    def strata(self) -> list[str]:
        """The strata of the evaluations, 2 before 10."""
        names = {name for one in self.iterations for name in one.figures.get("strata") or {}}
        names |= {name for test in (self.base_test, self.final_test) if test for name in test.strata}
        return sorted(names, key=_natural)

    @property
    def hardest_first(self) -> list[str]:
        """The strata by the base's accuracy, lowest first."""
        first = (self.iterations[0].figures.get("strata") or {}) if self.iterations else {}
        return sorted(self.strata, key=lambda name: (first.get(name) or 0.0, name))

    @property
    def under_way(self) -> Step | None:
        """The last step of an iteration that has not finished."""
        done = max((one.iteration for one in self.iterations), default=-1)
        return self.steps[-1] if self.steps and self.steps[-1].iteration > done else None


def read_arms(lineage: Lineage, cursor: duckdb.DuckDBPyConnection, run: Run) -> list[Arm]:
    """The run itself, or its arms in the order in which they were started."""
    return [_arm(lineage, cursor, one) for one in lineage.arms(run.run_id) or [run]]


def compare(cursor: duckdb.DuckDBPyConnection, before: str | None, after: str | None) -> Change | None:
    """Two evaluations on the problems they share; None where one is missing or they share none."""
    query = (
        "select count(*), count(*) filter (where b.passed and not a.passed), "
        "count(*) filter (where a.passed and not b.passed) "
        "from v_evaluation_item a join v_evaluation_item b using (problem_id) "
        "where a.evaluation_id = ? and b.evaluation_id = ? and a.passed is not null and b.passed is not null"
    )
    shared, gained, lost = rows(cursor, query, [before, after])[0] if before and after else (0, 0, 0)
    return Change(gained, lost, mcnemar(gained, lost)) if shared else None


def rows(cursor: duckdb.DuckDBPyConnection, query: str, given: Sequence[Any]) -> list[tuple[Any, ...]]:
    """What the snapshot answers."""
    return cursor.execute(query, list(given)).fetchall()


def _arm(lineage: Lineage, cursor: duckdb.DuckDBPyConnection, run: Run) -> Arm:
    wanted = run.config.get("iterations")
    iterations = [one for one in lineage.iterations(run.run_id) if wanted is None or one.iteration <= wanted]
    steps = lineage.steps(run.run_id)
    base, final = _test(run.facts.get("base_test")), _test(run.facts.get("final_test"))
    ended = rows(
        cursor,
        "select (payload->'facts'->>'wall_s')::double from v_event where kind = 'run_finished' and run_id = ?",
        [run.run_id],
    )
    spent = sum(one[0] or 0.0 for one in ended)
    return Arm(
        run=run,
        iterations=iterations,
        tallies=_tallies(lineage.yields(run.run_id), steps),
        steps=steps,
        soundness=_soundness(cursor, run.run_id),
        flips=_flips(cursor, run.run_id),
        base_test=base,
        final_test=final,
        change=compare(cursor, base.evaluation_id, final.evaluation_id) if base and final else None,
        wall_s=max(spent, sum(one.wall_s or 0.0 for one in iterations) if not ended else 0.0),
        tokens=int(run.facts.get("tokens") or sum(one.figures.get("tokens") or 0 for one in iterations)),
    )


def _tallies(yields: list[Yield], steps: list[Step]) -> list[Tally]:
    """As the steps account for them; the view counts a problem that was drawn twice once, and is
    there for steps of other names."""
    found: list[Tally] = []
    for one in yields:
        counted = (
            (False, "verify", one.attempts, one.kept, one.undecided, one.failed),
            (True, "verify rationalized", one.rationalized, one.rationalized_kept, one.rationalized_undecided, 0),
        )
        for hinted, name, made, kept, undecided, failed in counted:
            told = [step for step in steps if step.iteration == one.iteration and step.step == name]
            if told:
                made, kept = sum(step.asked for step in told), sum(step.ok for step in told)
                undecided, failed = sum(step.undecided for step in told), sum(step.failed for step in told)
            if made and one.iteration > 0:
                found.append(
                    Tally(one.iteration, hinted, made, kept, made - kept - undecided - failed, undecided, failed)
                )
    return found


def _soundness(cursor: duckdb.DuckDBPyConnection, run_id: str) -> list[Soundness]:
    query = (
        "select a.iteration, a.hinted, count(v.passed), count(*) filter (where not v.passed) "
        "from v_attempt a join v_verdict v using (run_id, iteration, attempt_id) "
        "where a.run_id = ? and v.aspect = 'steps' and a.passed and coalesce(a.split, '') not in ('dev', 'test', 'check') "
        "group by all having count(v.passed) > 0 order by all"
    )
    return [Soundness(*row) for row in rows(cursor, query, [run_id])]


def _flips(cursor: duckdb.DuckDBPyConnection, run_id: str) -> dict[int, Change]:
    query = (
        "with seen as (select e.iteration, i.passed, "
        "lag(i.passed) over (partition by i.problem_id order by e.iteration) as before "
        "from v_evaluation e join v_evaluation_item i using (evaluation_id) where e.run_id = ? and e.split = 'dev') "
        "select iteration, count(*) filter (where passed and not before), count(*) filter (where before and not passed) "
        "from seen where before is not null and passed is not null group by iteration"
    )
    return {n: Change(gained, lost, mcnemar(gained, lost)) for n, gained, lost in rows(cursor, query, [run_id])}


def _dev(one: Iteration) -> Score | None:
    if one.held_out_accuracy is None:
        return None
    low = one.held_out_accuracy if one.ci_low is None else one.ci_low
    high = one.held_out_accuracy if one.ci_high is None else one.ci_high
    return Score("dev", one.held_out_accuracy, low, high, one.n or 0, one.figures.get("strata") or {})


def _test(facts: dict[str, Any] | None) -> Score | None:
    if not facts or facts.get("accuracy") is None:
        return None
    exact = facts["accuracy"]
    return Score(
        str(facts.get("split", "test")), exact, facts.get("ci_low", exact), facts.get("ci_high", exact),
        int(facts.get("n", 0)), facts.get("strata") or {}, facts.get("evaluation_id"),
    )  # fmt: skip


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"([0-9]+)", name)]
