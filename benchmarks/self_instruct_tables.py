"""Writes docs/methods/self-instruct.md: the speed of novelty, measured here, and what a finished run wrote, from its ledger.

starloop run self_instruct --preset smollm2-self-instruct --home written
python -m benchmarks.self_instruct_tables written
"""

import argparse
from pathlib import Path

from benchmarks import novelty
from benchmarks.measured import replaced
from storage.answers import Run
from storage.home import Home
from storage.lineage import Lineage
from storage.report.arms import Arm, read_arms
from storage.report.writing import REFUSED_COLUMNS, ROUND_COLUMNS, writing

PAGE = Path(__file__).resolve().parents[1] / "docs" / "methods" / "self-instruct.md"
EXAMPLES = 6


def main() -> None:
    """Replace the measured sections; that of the model only where a home is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", nargs="?", type=Path, help="the home of the finished run")
    given = parser.parse_args()
    text = replaced(PAGE.read_text(encoding="utf-8"), "novelty", novelty.measure().sentence)
    if given.home:
        with Lineage.open(Home.existing(given.home), fresh=True) as lineage:
            text = replaced(text, "smollm2", yields(lineage))
    PAGE.write_text(text, encoding="utf-8")


def yields(lineage: Lineage) -> str:
    """Rounds, refusals by filter, the held-out answers, and the first of what was admitted."""
    run = next(one for one in lineage.runs() if one.method == "self_instruct" and one.state == "completed")
    arm = _arm(lineage, run)
    told = writing(arm)
    assert told is not None
    base, final = run.facts["base_test"], run.facts["final_test"]
    return "\n".join(
        [
            f"{told.sentence} {sum(one.train_rows or 0 for one in arm.iterations):,} rows were trained on, the seeds' own among them.",
            "",
            *_table(ROUND_COLUMNS, told.rounds),
            "",
            *_table(REFUSED_COLUMNS, told.refused),
            "",
            f"Held-out seeds, test, n = {final['n']}: mean ROUGE-L {base['mean_score']:.3f} before and {final['mean_score']:.3f} after; at or above 0.5: "
            f"{_share(base)} before, {_share(final)} after.",
            "",
            "The first that were admitted, with their first instance as it was written:",
            "",
            *_table(["instruction", "input", "output"], _first(lineage, run)),
        ]
    )


def _arm(lineage: Lineage, run: Run) -> Arm:
    from storage.query import snapshot_cursor

    cursor = snapshot_cursor(lineage.home)
    try:
        return read_arms(lineage, cursor, run)[0]
    finally:
        cursor.close()


def _first(lineage: Lineage, run: Run) -> list[list[str]]:
    query = (
        "select b.question, (v.answer::json)->>'input', (v.answer::json)->>'output' from v_verdict v join problem b using (problem_id) "
        f"where v.run_id = '{run.run_id}' and v.verifier = 'self_instruct_instances' and v.passed and v.aspect = 'instance 1' "
        f"order by v.step, b.question limit {EXAMPLES}"
    )
    return [[_cell(text) for text in row] for row in lineage.query(query).rows]


def _cell(text: object) -> str:
    line = " ".join(str(text).split()).replace("|", "\\|")
    return line if len(line) <= 160 else f"{line[:159]}…"


def _share(scored: dict[str, float]) -> str:
    return f"{100 * scored['accuracy']:.0f} % [{100 * scored['ci_low']:.0f}, {100 * scored['ci_high']:.0f}]"


def _table(columns: list[str], rows: list[list[str]]) -> list[str]:
    return [
        f"| {' | '.join(columns)} |",
        f"| {' | '.join('---' for _ in columns)} |",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


if __name__ == "__main__":
    main()
