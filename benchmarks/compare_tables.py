"""Writes docs/compare.md's measured tables and its chart, from the newest comparison in a home:

starloop compare --methods star,rest_em --preset addition-compare --budget-tokens 160000 --seeds 3 --home compared
python -m benchmarks.compare_tables compared
"""

import argparse
from pathlib import Path

from benchmarks.measured import replaced
from storage.answers import Run
from storage.home import Home
from storage.lineage import Lineage
from storage.report.comparison import (
    COLUMNS,
    PAIR_COLUMNS,
    comparison_chart,
    failures,
    markdown,
    pair_rows,
    rows,
    standalone,
)
from storage.report.health import ceiling_says

PAGE = Path(__file__).resolve().parents[1] / "docs" / "compare.md"
FIGURE = PAGE.with_name("compare.svg")


def main() -> None:
    """Replace the measured sections of the page, and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path, help="the home of the finished comparison")
    with Lineage.open(Home.existing(parser.parse_args().home), fresh=True) as lineage:
        run = next(one for one in lineage.runs() if one.method == "compare" and one.facts.get("comparison"))
        found = run.facts["comparison"]
        text = PAGE.read_text(encoding="utf-8")
        text = replaced(text, "comparison", comparison(run))
        text = replaced(text, "health", health(lineage, run))
    PAGE.write_text(text, encoding="utf-8")
    FIGURE.write_text(standalone(comparison_chart(found)), encoding="utf-8")


def comparison(run: Run) -> str:
    """The two tables and the chart, with the command that made them."""
    found, asked = run.facts["comparison"], run.config
    changes = "".join(f" --set {name}={value}" for name, value in asked["changes"].items())
    command = (
        f"starloop compare --methods {','.join(asked['methods'])} --preset {asked['preset']} "
        f"--budget-tokens {asked['budget_tokens']} --seeds {asked['seeds']}{changes}"
    )
    parts = [
        f"`{command}`",
        markdown(COLUMNS, rows(found)),
        markdown(PAIR_COLUMNS, pair_rows(found)),
        f"![accuracy by generated tokens]({FIGURE.name})",
        *failures(found),
    ]
    return "\n\n".join(parts)


def health(lineage: Lineage, run: Run) -> str:
    """Each loop of seed 0, iteration by iteration, and the ceiling of its verifier."""
    lines: list[list[str]] = []
    ceilings: dict[str, str] = {}
    for arm in lineage.arms(run.run_id):
        if arm.config["seed"] != 0:
            continue
        for one in lineage.iterations(arm.run_id):
            health = one.figures.get("health")
            if not health or one.iteration > arm.facts.get("iterations", 0):
                continue
            curve = health["pass_at"]
            shares = (
                curve[0] if curve else None, curve[-1] if len(curve) > 1 else None, health["lost_share"],
                health["false_positive_share"], health["rationalized_share"], health["train_dev_gap"],
            )  # fmt: skip
            shown = ["—" if share is None else f"{100 * share:.1f} %" for share in shares]
            distinct = health["distinct_solutions"]
            lines.append([
                arm.method, str(one.iteration), *shown[:2], "—" if distinct is None else f"{distinct:.2f}",
                f"{health['mean_tokens'] or health['mean_characters']:.1f}", *shown[2:], str(len(health["signs"])),
            ])  # fmt: skip
            ceilings[arm.method] = ceiling_says(health.get("ceiling"))
    columns = ["method", "iteration", "pass@1", "pass@K", "distinct", "length", "lost on dev", "unsound", "rationalized",
               "train above dev", "limits passed"]  # fmt: skip
    said = [f"{method}: {sentence}" for method, sentence in ceilings.items() if sentence]
    return "\n\n".join([markdown(columns, lines), *said])


if __name__ == "__main__":
    main()
