"""Writes docs/methods/em.md and docs/methods/rest-em.md: the toy mixture, and the ledger of a finished study.

starloop run rest_em --preset addition-em-study --home em
python -m benchmarks.em_tables em
"""

import argparse
from collections import defaultdict
from pathlib import Path

from benchmarks.measured import arms_of, changed, replaced
from benchmarks.toy_mixture import table
from storage.answers import Run
from storage.home import Home
from storage.lineage import Lineage
from storage.significance import mcnemar

PAGES = Path(__file__).resolve().parents[1] / "docs" / "methods"
EM, REST_EM = PAGES / "em.md", PAGES / "rest-em.md"


def main() -> None:
    """Replace the measured sections; those of the language model only where a home is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", nargs="?", type=Path, help="the home of the finished study")
    given = parser.parse_args()
    text = replaced(EM.read_text(encoding="utf-8"), "toy", table())
    if given.home:
        with Lineage.open(Home.existing(given.home), fresh=True) as lineage:
            text = replaced(text, "em-likelihoods", likelihoods(lineage))
            page = REST_EM.read_text(encoding="utf-8")
            REST_EM.write_text(replaced(page, "em-study", study(lineage)), encoding="utf-8")
    EM.write_text(text, encoding="utf-8")


def study(lineage: Lineage) -> str:
    """Dev by iteration and test at the end, an arm and seed a row, and the pairs against each other."""
    kinds: dict[str, list[Run]] = defaultdict(list)
    for run in arms_of(lineage):
        kinds[run.name.rpartition(", seed")[0]].append(run)
    lines = [
        "| arm | seed | dev by iteration, from the base | base, test | final, test [95 %] | attempts kept | generated tokens |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind, runs in kinds.items():
        for run in runs:
            figures = [one.figures for one in lineage.iterations(run.run_id)]
            dev = " → ".join(f"{100 * one['held_out_accuracy']:.1f}" for one in figures)
            test = run.facts["final_test"]
            lines.append(
                f"| {kind} | {run.config['seed']} | {dev} | {100 * run.facts['base_accuracy']:.1f} | {100 * test['accuracy']:.1f} "
                f"[{100 * test['ci_low']:.1f}, {100 * test['ci_high']:.1f}] | {sum(one['kept'] for one in figures):,} "
                f"| {sum(one['sampled_tokens'] for one in figures[1:]):,} |"
            )
    first, second = kinds.values()
    lines += [
        "",
        "| seed | right only after three iterations | right only after one | exact McNemar p |",
        "| --- | --- | --- | --- |",
    ]
    for one, other in zip(first, second, strict=True):
        gained, lost = changed(lineage, one.facts["final_test"], other.facts["final_test"])
        lines.append(f"| {one.config['seed']} | {gained} | {lost} | {mcnemar(gained, lost):.2g} |")
    return "\n".join(lines)


def likelihoods(lineage: Lineage) -> str:
    """The three log-likelihoods of each iteration of the first arm."""
    lines = [
        "| iteration | kept | under M(n-1), which wrote it | under the base, before the M-step | under M(n), after it |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in lineage.iterations(arms_of(lineage)[0].run_id)[1:]:
        told = [one.figures[f"log_likelihood_{when}"] for when in ("written", "before", "after")]
        lines.append(f"| {one.iteration} | {one.figures['kept']:,} | {' | '.join(f'{value:.4f}' for value in told)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
