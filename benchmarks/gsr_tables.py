"""Writes what was measured into docs/methods/gsr.md, from the ledger of the preset, or of the study that goes on from it:

    starloop run gsr --preset addition-gsr --home gsr
    starloop run gsr --preset addition-gsr-study --home gsr
    python -m benchmarks.gsr_tables gsr

Nothing between the page's markers is written by hand. Of a study that was stopped the arms that had finished are shown.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.measured import arms_of, replaced
from storage.answers import Run
from storage.home import Home
from storage.lineage import Lineage

PAGE = Path(__file__).resolve().parents[1] / "docs" / "methods" / "gsr.md"
WHOLE = "GSR"
"""The arm whose every iteration is shown."""


def main() -> None:
    """Replace the measured sections of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path, help="the home of the finished runs")
    text = PAGE.read_text(encoding="utf-8")
    with Lineage.open(Home.existing(parser.parse_args().home), fresh=True) as lineage:
        kinds = runs_of(lineage)
        for name, section in (
            ("iterations", iterations(lineage, kinds[WHOLE])),
            ("drawn", drawn(lineage, kinds[WHOLE])),
            ("tokens", tokens(lineage, kinds[WHOLE])),
            ("flips", flips(lineage, kinds[WHOLE])),
            ("arms", arms(lineage, kinds)),
        ):
            text = replaced(text, name, section)
    PAGE.write_text(text, encoding="utf-8")


def runs_of(lineage: Lineage) -> dict[str, list[Run]]:
    """The study's arms that finished, a run a seed; without a study, the newest run."""
    if not any(run.config["arms"] for run in lineage.runs()):
        return {WHOLE: [next(run for run in lineage.runs() if run.facts.get("final_test"))]}
    kinds: dict[str, list[Run]] = defaultdict(list)
    for run in arms_of(lineage):
        kinds[run.name.rpartition(", seed")[0]].append(run)
    return kinds


def iterations(lineage: Lineage, runs: list[Run]) -> str:
    """Accuracies on dev by iteration, the mean of the seeds."""
    columns = (
        ("one greedy", lambda one: one["held_out_accuracy"]),
        ("one sample", lambda one: one["refinement"]["one"]),
        ("majority of 4", lambda one: one["refinement"]["majority"]),
        ("likeliest of 4", lambda one: one["refinement"]["best"]),
        ("**refined from 4**", lambda one: one["refinement"]["refined"]),
        ("any of 4", lambda one: one["refinement"]["any"]),
        ("majority at equal tokens", lambda one: one["refinement"]["equal_tokens"]["majority"]),
        ("likeliest at equal tokens", lambda one: one["refinement"]["equal_tokens"]["best"]),
    )
    lines = [f"| iteration | {' | '.join(name for name, _ in columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for number, figures in by_iteration(lineage, runs).items():
        cells = [percent([value(one) for one in figures]) for _, value in columns]
        lines.append(f"| {named(number)} | {' | '.join(cells)} |")
    seeds = ", ".join(str(run.config["seed"]) for run in runs)
    n = lineage.iterations(runs[0].run_id)[0].figures["refinement"]["n"]
    lines += [
        "",
        f"Percent of the {n} sums of dev, the mean over seeds {seeds}."
        if len(runs) > 1
        else f"Percent of the {n} sums of dev; one seed.",
    ]
    return "\n".join(lines)


def drawn(lineage: Lineage, runs: list[Run]) -> str:
    """Candidates and refinements at the same temperature, on the problems that an iteration trains on."""
    lines = [
        "| iteration, written by the model before it | one sample | refined from 4, drawn alike | all 4 wrong | recovered |",
        "| --- " * 5 + "|",
    ]
    for number, figures in by_iteration(lineage, runs).items():
        if number:
            asked, right, wrong, recovered = (
                sum(one[name] for one in figures)
                for name in ("refined_attempts", "refined_correct", "all_wrong", "recovered")
            )
            sampled = percent([one["train_accuracy"] for one in figures])
            lines.append(f"| {number} | {sampled} | {100 * right / asked:.1f} | {wrong} | {share(recovered, wrong)} |")
    return "\n".join(lines)


def tokens(lineage: Lineage, runs: list[Run]) -> str:
    """What a problem took, and how many samples the vote had for it, in the last iteration."""
    figures = by_iteration(lineage, runs)[max(by_iteration(lineage, runs))]
    n = figures[0]["refinement"]["n"]
    lines = ["| a problem on dev, last iteration | attempts | tokens read | tokens generated |", "| --- " * 4 + "|"]
    for name, title in (
        ("candidates", "candidates"), ("refinements", "the refinement"), ("extra", "samples bought instead"),
    ):  # fmt: skip
        spent = [one["refinement"]["tokens"][name] for one in figures]
        cells = [mean(one[what] for one in spent) / n for what in ("attempts", "prompt", "generated")]
        lines.append(f"| {title} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    return "\n".join(lines)


def flips(lineage: Lineage, runs: list[Run]) -> str:
    """What the refinement did to the vote's answers, summed over the seeds."""
    lines = [
        "| iteration | wrong → right | right → wrong | the same at equal tokens | gap | gap at equal tokens | all 4 wrong | recovered | by one greedy answer |",
        "| --- " * 9 + "|",
    ]
    for number, figures in by_iteration(lineage, runs).items():
        weighed = [one["refinement"] for one in figures]
        own = [summed(weighed, "against_majority", name) for name in ("wrong_to_right", "right_to_wrong")]
        equal = [
            sum(one["equal_tokens"]["against_majority"][name] for one in weighed)
            for name in ("wrong_to_right", "right_to_wrong")
        ]
        wrong, recovered = (sum(one[name] for one in weighed) for name in ("all_wrong", "recovered"))
        gaps = [points([one["gap"] for one in weighed]), points([one["equal_tokens"]["gap"] for one in weighed])]
        rescued = f"{share(recovered, wrong)} | {sum(one['recovered_by_greedy'] for one in weighed)}"
        lines.append(
            f"| {named(number)} | {own[0]} | {own[1]} | {equal[0]}, {equal[1]} | {gaps[0]} | {gaps[1]} | {wrong} | {rescued} |"
        )
    return "\n".join(lines)


def arms(lineage: Lineage, kinds: dict[str, list[Run]]) -> str:
    """Every arm's last iteration on dev, and its final test; the mean of the seeds, each seed's gap beside."""
    lines = [
        "| arm | one greedy | majority of 4 | refined from 4 | gap, each seed | gap at equal tokens | recovered | test, one greedy |",
        "| --- " * 8 + "|",
    ]
    for kind, runs in kinds.items():
        curves = by_iteration(lineage, runs)
        figures = curves[max(curves)]
        weighed = [one["refinement"] for one in figures]
        wrong, recovered = (sum(one[name] for one in weighed) for name in ("all_wrong", "recovered"))
        cells = [
            percent([one["held_out_accuracy"] for one in figures]),
            percent([one["majority"] for one in weighed]),
            percent([one["refined"] for one in weighed]),
            f"{points([one['gap'] for one in weighed])} ({', '.join(points([one['gap']]) for one in weighed)})",
            points([one["equal_tokens"]["gap"] for one in weighed]),
            f"{recovered} of {wrong}",
            percent([run.facts["final_accuracy"] for run in runs]),
        ]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    seeds = max(map(len, kinds.values()))
    how = f"{seeds} seeds" if seeds > 1 else "one seed"
    lines += ["", f"The last iteration on dev, {how}."]
    return "\n".join(lines)


def by_iteration(lineage: Lineage, runs: Sequence[Run]) -> dict[int, list[dict[str, Any]]]:
    """Every run's figures, by iteration."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        for one in lineage.iterations(run.run_id):
            found[one.iteration].append(one.figures)
    return found


def summed(weighed: Sequence[dict[str, Any]], part: str, name: str) -> int:
    return sum(one[part][name] for one in weighed)


def share(part: int, whole: int) -> str:
    return f"{part} ({part / whole:.1%})" if whole else str(part)


def named(iteration: int) -> str:
    return "base" if iteration == 0 else str(iteration)


def percent(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{100 * mean(known):.1f}" if known else "–"


def points(values: Sequence[float]) -> str:
    return f"{100 * mean(values):+.1f}"


if __name__ == "__main__":
    main()
