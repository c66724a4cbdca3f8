"""How healthy a loop is: accuracy with its intervals, what became of the attempts, what was undecided, what was trained on.

Everything is read from what the steps accounted for and the flow wrote down, and no attempt is counted again, so a board is
there at once whatever the ledger's size.
"""

from dataclasses import dataclass
from itertools import pairwise

from storage.answers import Iteration, Run, Step
from storage.explorer.catalogue import Catalogue
from storage.explorer.comparing import read_changes
from storage.lineage import Lineage
from storage.report.arms import Arm, Change, Tally
from storage.report.sections import Chart, mixes, times, yields

WARN_UNDECIDED, WARN_FAILED = 0.02, 0.01


@dataclass(frozen=True, slots=True)
class Row:
    """An iteration in the table of a board; shares are None where nothing was decided or trained on."""

    iteration: int
    accuracy: float | None
    low: float | None
    high: float | None
    gained: int | None
    lost: int | None
    made: int
    pass_rate: float | None
    undecided: float | None
    hinted_rate: float | None
    rows: int | None
    rationalized: float | None
    original: float | None
    seconds: float | None
    checkpoint_id: str | None


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing to look at. `tone`: good, warn or bad; `href` shows what it is about."""

    tone: str
    said: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class Board:
    """A run's board."""

    arm: Arm
    rows: list[Row]
    signs: list[Sign]
    yields: Chart | None
    mixes: Chart | None
    times: Chart | None
    cached: int
    seconds: float


def read_board(lineage: Lineage, catalogue: Catalogue, run: Run) -> Board:
    """The board of one run."""
    wanted = run.config.get("iterations")
    iterations = [one for one in lineage.iterations(run.run_id) if wanted is None or one.iteration <= wanted]
    steps = lineage.steps(run.run_id)
    flips = _flips(lineage, catalogue, run.run_id)
    tallies = _tallies(steps)
    arm = Arm(
        run=run, iterations=iterations, tallies=tallies, steps=steps, soundness=[], flips=flips, base_test=None, final_test=None,
        change=None, wall_s=sum(one.wall_s or 0.0 for one in iterations), tokens=int(run.facts.get("tokens") or 0),
    )  # fmt: skip
    rows = [_row(one, tallies, flips) for one in iterations]
    return Board(
        arm=arm,
        rows=rows,
        signs=_signs(run, rows, steps, tallies),
        yields=yields(arm, 640),
        mixes=mixes(arm, 640),
        times=times(arm, 640),
        cached=sum(one.hit for one in steps),
        seconds=sum(one.work_s + one.startup_s for one in steps),
    )


def _tallies(steps: list[Step]) -> list[Tally]:
    found: list[Tally] = []
    for iteration in sorted({one.iteration for one in steps if one.iteration > 0}):
        for hinted, name in ((False, "verify"), (True, "verify rationalized")):
            told = [one for one in steps if one.iteration == iteration and one.step == name]
            made, kept = sum(one.asked for one in told), sum(one.ok for one in told)
            undecided, failed = sum(one.undecided for one in told), sum(one.failed for one in told)
            if made:
                found.append(Tally(iteration, hinted, made, kept, made - kept - undecided - failed, undecided, failed))
    return found


def _flips(lineage: Lineage, catalogue: Catalogue, run_id: str) -> dict[int, Change]:
    dev = {
        one.iteration: one.evaluation_id for one in catalogue.evaluations if one.run_id == run_id and one.split == "dev"
    }
    return read_changes(lineage, [(n, dev[before], dev[n]) for before, n in pairwise(sorted(dev))])


def _row(one: Iteration, tallies: list[Tally], flips: dict[int, Change]) -> Row:
    direct = next((tally for tally in tallies if tally.iteration == one.iteration and not tally.hinted), None)
    hinted = next((tally for tally in tallies if tally.iteration == one.iteration and tally.hinted), None)
    origins = one.figures.get("rows_by_origin") or {}
    trained = sum(origins.values())
    change = flips.get(one.iteration)
    return Row(
        iteration=one.iteration, accuracy=one.held_out_accuracy, low=one.ci_low, high=one.ci_high,
        gained=change.gained if change else None, lost=change.lost if change else None,
        made=direct.made if direct else 0, pass_rate=_rate(direct),
        undecided=direct.undecided / direct.made if direct and direct.made else None, hinted_rate=_rate(hinted),
        rows=one.train_rows, rationalized=origins.get("rationalized", 0) / trained if trained else None,
        original=one.original_share, seconds=one.wall_s, checkpoint_id=one.checkpoint_id,
    )  # fmt: skip


def _rate(tally: Tally | None) -> float | None:
    decided = tally.kept + tally.rejected if tally else 0
    return tally.kept / decided if tally and decided else None


def _signs(run: Run, rows: list[Row], steps: list[Step], tallies: list[Tally]) -> list[Sign]:
    signs = []
    measured = [one for one in rows if one.accuracy is not None]
    if len(measured) > 1:
        best = max(measured, key=lambda one: one.accuracy or 0.0)
        last = measured[-1]
        drop = 100 * ((best.accuracy or 0) - (last.accuracy or 0))
        if best is last:
            signs.append(Sign("good", f"The last iteration, {last.iteration}, is the best so far on dev."))
        elif last.high is not None and best.low is not None and last.high < best.low:
            said = f"Iteration {last.iteration} is {drop:.1f} points below iteration {best.iteration}, and their intervals do not meet."
            signs.append(Sign("bad", said, _compare(run, best, last)))
        else:
            said = f"Iteration {best.iteration} was the best; iteration {last.iteration} is {drop:.1f} points lower, and their intervals meet."
            signs.append(Sign("warn" if drop > 0 else "good", said, _compare(run, best, last)))
    made, undecided = sum(one.made for one in tallies), sum(one.undecided for one in tallies)
    if made:
        share = undecided / made
        said = (
            f"{undecided:,} of {made:,} attempts are undecided ({100 * share:.1f} %)."
            if undecided
            else "No attempt is undecided."
        )
        href = f"/attempts?run={run.run_id}&verdict=undecided" if undecided else ""
        signs.append(Sign("bad" if share > WARN_UNDECIDED else "warn" if undecided else "good", said, href))
    failed = sum(one.failed for one in tallies)
    if failed:
        signs.append(Sign("bad" if failed / made > WARN_FAILED else "warn", f"{failed:,} generations failed for good."))
    rationalized = [one.rationalized for one in rows if one.rationalized]
    if rationalized:
        said = f"Up to {100 * max(rationalized):.0f} % of a training set was rationalized: written with the answer in sight."
        signs.append(Sign("warn" if max(rationalized) > 0.5 else "good", said, f"/rationales?run={run.run_id}"))
    if lost := sum(one.lost or 0 for one in rows):
        signs.append(Sign("warn", f"{lost:,} held-out problems that were solved were lost again by the next iteration.",
                          f"/compare?run={run.run_id}"))  # fmt: skip
    return signs


def _compare(run: Run, one: Row, other: Row) -> str:
    return f"/compare?run={run.run_id}&from={one.iteration}&to={other.iteration}"
