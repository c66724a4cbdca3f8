"""Writes what was measured into README.md and docs/methods/star.md, from the ledgers of three runs:

    starloop run star --preset addition-quick --home demo
    starloop run star --preset addition-controls --home controls
    starloop run star --preset addition-paper --home paper
    python -m benchmarks.star_tables --demo demo --controls controls --paper paper

Nothing in those sections is written by hand; the text between the markers is replaced. Sections whose run is not given stay.
"""

import argparse
from collections import defaultdict
from html import escape
from io import StringIO
from pathlib import Path
from statistics import mean
from typing import cast

from benchmarks.measured import arms_of, replaced
from storage.answers import Run
from storage.home import Home
from storage.identity import show
from storage.lineage import Lineage
from storage.significance import mcnemar

PAGE = Path(__file__).resolve().parents[1] / "docs" / "methods" / "star.md"
README = PAGE.parents[2] / "README.md"
FIGURE = PAGE.with_name("star-digits.svg")
SHOWN = (1, 2, 4, 8, 16)
"""Iterations whose rationales are tabulated."""

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9")


def main() -> None:
    """Replace the measured sections of the page, and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("demo", "controls", "paper"):
        parser.add_argument(f"--{name}", type=Path, help="the home of that finished run")
    given = parser.parse_args()
    if given.demo:
        text = README.read_text(encoding="utf-8")
        README.write_text(replaced(text, "demo", demo(Home.existing(given.demo))), encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    if given.controls:
        with Lineage.open(Home.existing(given.controls), fresh=True) as lineage:
            text = replaced(text, "controls", controls(lineage))
    if given.paper:
        with Lineage.open(Home.existing(given.paper), fresh=True) as lineage:
            text = replaced(text, "paper", paper(lineage))
            FIGURE.write_text(figure(lineage), encoding="utf-8")
    PAGE.write_text(text, encoding="utf-8")


def demo(home: Home) -> str:
    """The newest run as `starloop status` shows it."""
    from rich.console import Console

    from flows.cli.status import document, print_runs

    console = Console(width=88, file=StringIO(), color_system=None)
    with Lineage.open(home, fresh=True) as lineage:
        print_runs([document(lineage, lineage.runs()[0], home)], console)
    shown = cast(StringIO, console.file).getvalue()
    return "```text\n" + "\n".join(line.rstrip() for line in shown.strip("\n").splitlines()) + "\n```"


def controls(lineage: Lineage) -> str:
    """Test accuracy of the base and of every arm's final checkpoint, per digit, and STaR against each, paired."""
    arms = arms_of(lineage)
    kinds: dict[str, list[Run]] = defaultdict(list)
    for run in arms:
        kinds[run.name.rpartition(", seed")[0]].append(run)
    base = arms[0].facts["base_test"]
    digits = list(base["strata"])
    lines = [
        f"| arm (mean of {len(kinds['STaR'])} seeds) | all | {' | '.join(digits)} | each seed |",
        "| --- " * (len(digits) + 3) + "|",
    ]
    lines.append(row("the base", base["accuracy"], base["strata"], f"n = {base['n']}"))
    for kind, runs in kinds.items():
        tests = [run.facts["final_test"] for run in runs]
        each = ", ".join(f"{100 * test['accuracy']:.1f}" for test in tests)
        strata = {digit: mean(test["strata"][digit] for test in tests) for digit in digits}
        lines.append(row(kind, mean(test["accuracy"] for test in tests), strata, each))
    lines += [
        "",
        "| STaR against | seed | right only with STaR | right only without | exact McNemar p |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind, runs in kinds.items():
        for mine, other in zip(kinds["STaR"], runs, strict=True):
            if mine.run_id != other.run_id:
                a, b = passed(lineage, mine), passed(lineage, other)
                gained, lost = len(a - b), len(b - a)
                lines.append(f"| {kind} | {mine.config['seed']} | {gained} | {lost} | {mcnemar(gained, lost):.2g} |")
    lines += ["", *wrong_steps(lineage, kinds["STaR"])]
    return "\n".join(lines)


def paper(lineage: Lineage) -> str:
    """Held-out accuracy by iteration for every arm, the final test, and the share of kept rationales with a wrong step."""
    arms = arms_of(lineage)
    longest = max(len(lineage.iterations(run.run_id)) for run in arms)
    lines = [f"| iteration | {' | '.join(run.name for run in arms)} |", "| --- " * (len(arms) + 1) + "|"]
    curves = [{one.iteration: one for one in lineage.iterations(run.run_id)} for run in arms]
    for iteration in range(longest):
        cells = [
            f"{100 * (curve[iteration].held_out_accuracy or 0):.1f}" if iteration in curve else "" for curve in curves
        ]
        lines.append(f"| {'base' if iteration == 0 else iteration} | {' | '.join(cells)} |")
    final = [f"**{100 * run.facts['final_accuracy']:.1f}**" for run in arms]
    lines.append(f"| test, n = {arms[0].facts['final_test']['n']} | {' | '.join(final)} |")
    lines += ["", f"![accuracy by digits]({FIGURE.name})", "", *wrong_steps(lineage, arms)]
    minutes = sum(run.facts["wall_s"] for run in arms) / 60
    lines += ["", f"All arms together took {minutes:.0f} minutes on two cores."]
    return "\n".join(lines)


def wrong_steps(lineage: Lineage, runs: list[Run]) -> list[str]:
    """Kept rationales that reach the right answer through a wrong step, direct and rationalized apart, by iteration."""
    lines = ["| kept through a wrong step | iteration | direct | rationalized |", "| --- | --- | --- | --- |"]
    for run in runs:
        found = lineage.query(
            "select a.iteration, a.hinted, count(*), count(*) filter (where not s.passed) from v_attempt a join v_verdict s "
            "on s.attempt_id = a.attempt_id and s.run_id = a.run_id and s.iteration = a.iteration and s.aspect = 'steps' "
            f"where a.run_id = '{run.run_id}' and a.split = 'train' and a.passed group by all order by all"
        ).rows  # fmt: skip
        shares = {
            (iteration, hinted): f"{wrong} of {kept} ({wrong / kept:.1%})" for iteration, hinted, kept, wrong in found
        }
        for iteration in sorted({key[0] for key in shares}):
            if iteration in SHOWN:
                lines.append(
                    f"| {run.name} | {iteration} | {shares.get((iteration, False), '')} | {shares.get((iteration, True), '')} |"
                )
    return lines


def passed(lineage: Lineage, run: Run) -> set[str]:
    """The test problems that a run's final checkpoint got right."""
    evaluation = run.facts["final_test"]["evaluation_id"]
    query = f"select problem_id from v_evaluation_item where evaluation_id = '{evaluation}' and passed"
    return {problem.hex for (problem,) in lineage.query(query, limit=None).rows}


def row(name: str, accuracy: float, strata: dict[str, float], rest: str) -> str:
    cells = " | ".join(f"{100 * value:.1f}" for value in strata.values())
    return f"| {name} | **{100 * accuracy:.1f}** | {cells} | {rest} |"


def figure(lineage: Lineage) -> str:
    """A panel an arm, a line a digit length: the shape of the paper's figure 4."""
    arms = [run for run in arms_of(lineage) if len(lineage.iterations(run.run_id)) > 2]
    wide, high, left, top = 260, 190, 52, 44
    parts: list[str] = []
    for place, run in enumerate(arms):
        iterations = lineage.iterations(run.run_id)
        x0, last = left + place * (wide + 46), max(1, iterations[-1].iteration)
        parts.append(f'<text x="{x0}" y="{top - 16}" class="title">{escape(run.name)}</text>')
        for share in (0, 0.5, 1):
            y = top + high * (1 - share)
            parts.append(f'<line x1="{x0}" x2="{x0 + wide}" y1="{y}" y2="{y}" class="grid"/>')
            parts.append(f'<text x="{x0 - 6}" y="{y + 4}" text-anchor="end">{100 * share:.0f} %</text>')
        for tick in range(0, last + 1, 4):
            parts.append(
                f'<text x="{x0 + wide * tick / last}" y="{top + high + 16}" text-anchor="middle">{tick}</text>'
            )
        for number, digit in enumerate(iterations[0].figures["strata"]):
            points = " ".join(
                f"{x0 + wide * one.iteration / last:.1f},{top + high * (1 - one.figures['strata'][digit]):.1f}"
                for one in iterations
            )
            parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[number % 5]}" stroke-width="2"/>')
            if place == 0:
                parts.append(
                    f'<text x="{left + number * 90}" y="{top + high + 40}" style="fill:{COLOURS[number % 5]}">— {escape(digit)}</text>'
                )
    width = left + len(arms) * (wide + 46)
    runs = ", ".join(show("run", run.run_id)[:12] for run in arms)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top + high + 56}" role="img" font-family="system-ui, sans-serif" '
        f'font-size="12"><title>Held-out accuracy by iteration and digits ({runs})</title>'
        "<style>text{fill:#666}.title{font-weight:600;font-size:13px}.grid{stroke:#9995;stroke-width:1}</style>"
        f"{''.join(parts)}</svg>\n"
    )


if __name__ == "__main__":
    main()
