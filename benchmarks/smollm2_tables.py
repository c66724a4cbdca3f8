"""Writes what was measured on a real model into docs/smollm2.md, from the ledgers of finished runs:

    starloop run star --preset smollm2-sums --home sums
    starloop run star --preset smollm2-sums-hard --home hard
    python -m benchmarks.smollm2_tables --sums sums --hard hard

Both are groups of arms: STaR and gold answers alone, three seeds each. Nothing between the markers is written by hand; sections
whose run is not given stay.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.measured import arms_of, changed, replaced
from storage.answers import Run
from storage.home import Home
from storage.lineage import Lineage
from storage.significance import mcnemar

PAGE = Path(__file__).resolve().parents[1] / "docs" / "smollm2.md"
STAR = "STaR"


def main() -> None:
    """Replace the measured sections of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("sums", "hard"):
        parser.add_argument(f"--{name}", type=Path, help="the home of that finished run")
    given = parser.parse_args()
    text = PAGE.read_text(encoding="utf-8")
    for name in ("sums", "hard"):
        if (home := getattr(given, name)) is not None:
            with Lineage.open(Home.existing(home), fresh=True) as lineage:
                text = replaced(text, name, section(lineage))
    PAGE.write_text(text, encoding="utf-8")


def section(lineage: Lineage) -> str:
    """The tables of one group of arms."""
    arms = arms_of(lineage)
    kinds: dict[str, list[Run]] = defaultdict(list)
    for run in arms:
        kinds[run.name.rpartition(", seed")[0]].append(run)
    first, *_ = arms
    also = first.config["evaluation"]["also"]
    minutes = [run.facts["wall_s"] / 60 for run in kinds[STAR]]
    parts = [
        zone(first.facts.get("zone")),
        curve(lineage, kinds),
        final(kinds),
        paired(lineage, kinds),
        *([kept(lineage, kinds, also)] if "final_also" in first.facts else []),
        f"A STaR run of {first.config['iterations']} iterations took {min(minutes):.0f} to {max(minutes):.0f} minutes "
        "(what another arm had made already, such as the base's answers, is not counted again).",
    ]
    return "\n\n".join(part for part in parts if part)


def zone(facts: dict[str, Any] | None) -> str:
    """What the check before the loop said."""
    if not facts:
        return ""
    said = " ".join(facts["advice"])
    return f"Zone check on {facts['n']} dev problems: {facts['verdict']}, {share(facts['accuracy'], facts)}. {said}"


def curve(lineage: Lineage, kinds: dict[str, list[Run]]) -> str:
    """Dev accuracy by iteration, with its interval, a column an arm."""
    runs = [run for group in kinds.values() for run in group]
    iterations = [{one.iteration: one for one in lineage.iterations(run.run_id)} for run in runs]
    lines = [f"| dev | {' | '.join(run.name for run in runs)} |", "| --- " * (len(runs) + 1) + "|"]
    for number in range(max(map(len, iterations))):
        cells = [interval(one[number].figures) if number in one else "" for one in iterations]
        lines.append(f"| {'base' if number == 0 else f'iteration {number}'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def final(kinds: dict[str, list[Run]]) -> str:
    """The test split: the base and every arm's last checkpoint."""
    base = next(iter(kinds.values()))[0].facts["base_test"]
    lines = ["| test | seed | accuracy [95 %] | n |", "| --- | --- | --- | --- |"]
    lines.append(f"| the base | | {share(base['accuracy'], base)} | {base['n']} |")
    for kind, runs in kinds.items():
        for run in runs:
            test = run.facts["final_test"]
            lines.append(f"| {kind} | {run.config['seed']} | {share(test['accuracy'], test)} | {test['n']} |")
    return "\n".join(lines)


def paired(lineage: Lineage, kinds: dict[str, list[Run]]) -> str:
    """STaR's last checkpoint against the base and against every other arm of its seed, problem by problem."""
    lines = [
        "| STaR against, on test | seed | right only with STaR | right only without | exact McNemar p |",
        "| --- | --- | --- | --- | --- |",
    ]
    for mine in kinds[STAR]:
        seed = mine.config["seed"]
        others = [run for kind, runs in kinds.items() if kind != STAR for run in runs if run.config["seed"] == seed]
        sides = [("the base", mine.facts["base_test"])]
        sides += [(run.name.rpartition(", seed")[0], run.facts["final_test"]) for run in others]
        lines += [against(lineage, name, seed, mine.facts["final_test"], other) for name, other in sides]
    return "\n".join(lines)


def kept(lineage: Lineage, kinds: dict[str, list[Run]], also: str) -> str:
    """What must not get worse: the base and the last checkpoint of every arm on another problem set."""
    lines = [
        f"| on `{also}`, dev | seed | base | after | right only after | right only before | exact McNemar p |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind, runs in kinds.items():
        for run in runs:
            base, after = run.facts["base_also"], run.facts["final_also"]
            gained, lost = changed(lineage, after, base)
            lines.append(
                f"| {kind} | {run.config['seed']} | {share(base['accuracy'], base)} | {share(after['accuracy'], after)} | "
                f"{gained} | {lost} | {mcnemar(gained, lost):.2g} |"
            )
    return "\n".join(lines)


def against(lineage: Lineage, name: str, seed: int, mine: dict[str, Any], other: dict[str, Any]) -> str:
    gained, lost = changed(lineage, mine, other)
    return f"| {name} | {seed} | {gained} | {lost} | {mcnemar(gained, lost):.2g} |"


def share(accuracy: float | None, facts: dict[str, Any]) -> str:
    if accuracy is None:
        return "none decided"
    return f"{100 * accuracy:.1f} % [{100 * facts['ci_low']:.0f}, {100 * facts['ci_high']:.0f}]"


def interval(figures: dict[str, Any]) -> str:
    return share(figures["held_out_accuracy"], figures)


if __name__ == "__main__":
    main()
