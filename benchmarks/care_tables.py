"""Writes the measured sections of docs/methods/care-star.md from the ledgers of two runs:

    starloop run care_star --preset addition-care-study --home study
    starloop run care_star --preset constrained-smollm2 --home constrained
    python -m benchmarks.care_tables --study study --constrained constrained

A section whose run is not given stays. Of a study under way the arms that are finished are shown.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import mean

from benchmarks.measured import arms_of, changed, replaced
from storage.answers import Run
from storage.home import Home
from storage.lineage import Lineage
from storage.query import snapshot_cursor
from storage.report.arms import Arm, read_arms
from storage.report.constraints import constraints
from storage.significance import mcnemar

PAGE = Path(__file__).resolve().parents[1] / "docs" / "methods" / "care-star.md"
SHOWN = (1, 2, 4, 8)
"""Iterations whose rationales are tabulated."""


def main() -> None:
    """Replace the measured sections of the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("study", "constrained"):
        parser.add_argument(f"--{name}", type=Path, help="the home of that run")
    given = parser.parse_args()
    text = PAGE.read_text(encoding="utf-8")
    if given.study:
        with Lineage.open(Home.existing(given.study), fresh=True) as lineage:
            text = replaced(text, "care-study", study(lineage))
    if given.constrained:
        text = replaced(text, "care-constrained", checked(Home.existing(given.constrained)))
    PAGE.write_text(text, encoding="utf-8")


def study(lineage: Lineage) -> str:
    """Dev accuracy by iteration and test at the end, unsound rationales kept, and the arms against the checked one, paired."""
    kinds: dict[str, list[Run]] = defaultdict(list)
    for run in arms_of(lineage):
        kinds[run.name.rpartition(", seed")[0]].append(run)
    return "\n".join([*accuracies(lineage, kinds), "", *kept(lineage, kinds), "", *paired(lineage, kinds)])


def accuracies(lineage: Lineage, kinds: dict[str, list[Run]]) -> list[str]:
    """A row an iteration, a column an arm: means over its seeds; then the test, base and final, and each seed's final."""
    names = [f"{kind} ({len(runs)} seed{'s' if len(runs) > 1 else ''})" for kind, runs in kinds.items()]
    lines = [f"| dev after iteration | {' | '.join(names)} |", "| --- " * (len(kinds) + 1) + "|"]
    curves = [[lineage.iterations(run.run_id) for run in runs] for runs in kinds.values()]
    for n in range(min(len(curve) for runs in curves for curve in runs)):
        cells = [f"{100 * mean(curve[n].held_out_accuracy or 0.0 for curve in runs):.1f}" for runs in curves]
        lines.append(f"| {n or 'base'} | {' | '.join(cells)} |")
    tests = [[run.facts["final_test"] for run in runs] for runs in kinds.values()]
    cells = [f"**{100 * mean(one['accuracy'] for one in runs):.1f}**" for runs in tests]
    lines.append(f"| test, n = {tests[0][0]['n']} | {' | '.join(cells)} |")
    each = [", ".join(f"{100 * one['accuracy']:.1f}" for one in runs) for runs in tests]
    lines.append(f"| test, each seed | {' | '.join(each)} |")
    return lines


def kept(lineage: Lineage, kinds: dict[str, list[Run]]) -> list[str]:
    """Kept rationales that `sum_steps` finds a wrong step in, by iteration, over the seeds: direct, hinted, and both."""
    lines = [
        "| kept through a wrong step | iteration | direct | rationalized | of all that was kept |",
        "| --- " * 5 + "|",
    ]
    for kind, runs in kinds.items():
        ids = ", ".join(f"'{run.run_id}'" for run in runs)
        found = lineage.query(
            "select a.iteration, a.hinted, count(*), count(*) filter (where not s.passed) from v_attempt a join v_verdict s "
            "on s.attempt_id = a.attempt_id and s.run_id = a.run_id and s.iteration = a.iteration and s.aspect = 'steps' "
            f"where a.run_id in ({ids}) and a.split = 'train' and a.passed group by all order by all",
            limit=None,
        ).rows
        counts = {(iteration, hinted): (wrong, count) for iteration, hinted, count, wrong in found}
        for iteration in SHOWN:
            direct, hinted = (counts.get((iteration, which), (0, 0)) for which in (False, True))
            both = (direct[0] + hinted[0], direct[1] + hinted[1])
            lines.append(f"| {kind} | {iteration} | {said(*direct)} | {said(*hinted)} | {said(*both)} |")
    return lines


def said(wrong: int, of: int) -> str:
    return f"{wrong:,} of {of:,} ({wrong / of:.1%})" if of else "—"


def paired(lineage: Lineage, kinds: dict[str, list[Run]]) -> list[str]:
    """The last arm, which checks every step, against each other arm on the same test problems."""
    *others, mine = kinds
    lines = [
        f"| *{mine}* against | seed | right only with | right only without | exact McNemar p |",
        "| --- | --- | --- | --- | --- |",
    ]
    for other in others:
        for one, two in zip(kinds[mine], kinds[other], strict=False):
            gained, lost = changed(lineage, one.facts["final_test"], two.facts["final_test"])
            lines.append(f"| {other} | {one.config['seed']} | {gained} | {lost} | {mcnemar(gained, lost):.2g} |")
    return lines


def checked(home: Home) -> str:
    """The newest run as the report tells its constraints, with its accuracies."""
    arm = newest(home)
    told = constraints(arm)
    assert told is not None, "the newest run judged no constraints"
    dev = " → ".join(f"{100 * (one.held_out_accuracy or 0):.1f}" for one in arm.iterations)
    rows = [f"| {' | '.join(cells)} |" for cells in (told.columns, ["---"] * len(told.columns), *told.rows)]
    kept_by = [
        f"iteration {one.iteration}: {one.kept} of {one.made} {'hinted' if one.hinted else 'sampled'}"
        for one in arm.tallies
    ]
    return "\n".join([
        f"Dev, from the base: {dev} % (n = {arm.iterations[0].n}). Kept, in {'; '.join(kept_by)}. {told.sentence}", "", *rows,
        "", f"The run took {arm.wall_s / 60:.0f} minutes on two cores.",
    ])  # fmt: skip


def newest(home: Home) -> Arm:
    """The newest run with everything that a report says of it."""
    with Lineage.open(home, fresh=True) as lineage:
        cursor = snapshot_cursor(home)
        try:
            return read_arms(lineage, cursor, lineage.runs()[0])[0]
        finally:
            cursor.close()


if __name__ == "__main__":
    main()
