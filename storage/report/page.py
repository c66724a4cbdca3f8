"""The page itself: everything read, drawn and put into the template, and the file written whole or not at all."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
from jinja2 import Environment, PackageLoader, StrictUndefined, Undefined
from markupsafe import Markup

from storage.home import Home, atomic_write
from storage.identity import show
from storage.lineage import Lineage
from storage.query import snapshot_cursor
from storage.report.arms import Arm, compare, read_arms
from storage.report.commands import next_commands, queries
from storage.report.comparison import COLUMNS, PAIR_COLUMNS, comparison_chart, pair_rows, rows
from storage.report.constraints import Constraints, constraints
from storage.report.curve import accuracy_curve
from storage.report.examples import teaching_examples
from storage.report.headline import best_of, headline, p_shown
from storage.report.health import Health, health
from storage.report.sections import Chart, Unsound, mixes, times, unsound, yields
from storage.report.strata import Cell, heat, strata_sentence
from storage.report.svg import duration, percent
from storage.report.text import plain, visible
from storage.report.trees import search_trees
from storage.report.writing import REFUSED_COLUMNS, ROUND_COLUMNS, Writing, writing

ACCURACY_COLUMNS = ["iteration", "accuracy", "95 % interval", "newly solved", "lost", "train accuracy", "training rows", "tokens",
                    "time"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class View:
    """An arm as the template takes it."""

    arm: Arm
    accuracy: list[list[str]]
    strata_says: str
    heat: list[tuple[str, list[Cell]]]
    heat_columns: list[str]
    heat_groups: list[tuple[str, int]]
    yields: Chart | None
    mixes: Chart | None
    times: Chart | None
    health: Health | None
    unsound: list[Unsound]
    constraints: Constraints | None
    writing: Writing | None
    checkpoints: list[list[str]]

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


@dataclass(frozen=True, slots=True)
class ArmRow:
    """An arm in the table that sets them beside each other."""

    name: str
    differs: str
    cells: list[str]


def write_report(home: Home, run_id: str, out: Path | None = None) -> Path:
    """Writes the report of a run, or of a group of runs, and gives back where: `reports/<run>.html` if not told.

    Raises UserMistake if there is no such run, StorageFault if the file cannot be written.
    """
    path = (out or home.reports / f"{run_id}.html").absolute()
    html = render_report(home, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, html.encode("utf-8", "replace"))
    return path


def render_report(home: Home, run_id: str) -> str:
    """The page as text."""
    with Lineage.open(home, fresh=True) as lineage:
        run = lineage.run(run_id)
        cursor, root = snapshot_cursor(home), home.root.absolute()
        try:
            arms = read_arms(lineage, cursor, run)
            best = best_of(arms)
            several = len(arms) > 1
            width = 500.0 if several else 980.0
            settings = flat(run.config)
            return _environment().get_template("page.html.jinja").render(
                run=run,
                head=headline(run, arms),
                several=several,
                best=best,
                views=[_view(arm, width) for arm in arms],
                dense=any(len(arm.iterations) > 8 for arm in arms),
                curve=accuracy_curve(arms) if any(arm.dev for arm in arms) else None,
                curve_says="" if several else _climb(best),
                arm_rows=_arm_rows(cursor, arms, best) if several else [],
                accuracy_columns=ACCURACY_COLUMNS,
                comparison=_compared(run.facts.get("comparison")),
                round_columns=ROUND_COLUMNS,
                refused_columns=REFUSED_COLUMNS,
                examples=teaching_examples(cursor, best),
                trees=search_trees(cursor, best),
                settings=[(key, value) for key, value in settings.items() if value not in ("null", "[]", "")],
                run_rows=_run_rows(arms, run, several),
                queries=queries(best),
                commands=next_commands(root, run, best),
                place=f"--home {shlex.quote(str(root))}",
                root=str(root),
            )  # fmt: skip
        finally:
            cursor.close()


def _compared(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A comparison's chart and tables, where the run is one."""
    if not found:
        return None
    tables = [(COLUMNS, rows(found)), (PAIR_COLUMNS, pair_rows(found))]
    return {"chart": comparison_chart(found), "tables": tables, "counted": found["counted"]}


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Settings by dotted name, each value as it would be given to --set."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= flat(value, f"{name}.")
        else:
            found[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("storage", "report"),
        autoescape=True,
        finalize=_safe,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "plain": plain, "percent": percent}
    return environment


def _safe(value: Any) -> Any:
    """Whatever the template puts out, unless it is markup of ours: no text gets onto the page past `visible`."""
    return value if isinstance(value, Markup | Undefined) else visible(value)


def _view(arm: Arm, width: float) -> View:
    columns = ["base" if one.iteration == 0 else str(one.iteration) for one in arm.iterations]
    tests = [name for name, test in (("base", arm.base_test), ("final", arm.final_test)) if test]
    return View(
        arm=arm,
        accuracy=_accuracy_rows(arm),
        strata_says=strata_sentence(arm),
        heat=heat(arm),
        heat_columns=[*columns, *tests],
        heat_groups=[("dev", len(columns)), ("test", len(tests))] if tests else [("dev", len(columns))],
        yields=yields(arm, width),
        mixes=mixes(arm, width),
        times=times(arm, width),
        health=health(arm),
        unsound=unsound(arm),
        constraints=constraints(arm),
        writing=writing(arm),
        checkpoints=[
            ["base" if one.iteration == 0 else str(one.iteration), show("ckp", one.checkpoint_id), _mix(one.figures)]
            for one in arm.iterations if one.checkpoint_id
        ],
    )  # fmt: skip


def _mix(figures: Mapping[str, Any]) -> str:
    return show("mix", figures["mix_id"]) if figures.get("mix_id") else "—"


def _accuracy_rows(arm: Arm) -> list[list[str]]:
    table = []
    for one in arm.iterations:
        flips, figures = arm.flips.get(one.iteration), one.figures
        table.append([
            "base" if one.iteration == 0 else str(one.iteration),
            percent(one.held_out_accuracy),
            "—" if one.ci_low is None else f"{percent(one.ci_low)} to {percent(one.ci_high)}",
            f"+{flips.gained:,}" if flips else "—",
            f"−{flips.lost:,}" if flips else "—",
            percent(figures.get("train_accuracy")),
            f"{one.train_rows:,}" if one.train_rows else "—",
            f"{figures['tokens']:,}" if figures.get("tokens") else "—",
            "—" if one.wall_s is None else duration(one.wall_s),
        ])  # fmt: skip
    return table


def _climb(arm: Arm) -> str:
    scores = arm.dev
    if len(scores) < 2:
        return ""
    steps = [after.accuracy - before.accuracy for before, after in pairwise(scores)]
    rose, top = sum(step > 0 for step in steps), max(range(len(steps)), key=lambda n: steps[n])
    said = f"Dev accuracy rose in {rose} of {len(steps)} iteration{'' if len(steps) == 1 else 's'}"
    return (
        f"{said}, most in iteration {top + 1} ({100 * steps[top]:+.1f} points)."
        if rose
        else f"{said}: this run shows no gain."
    )


def _arm_rows(cursor: duckdb.DuckDBPyConnection, arms: list[Arm], best: Arm) -> list[ArmRow]:
    settings = [flat(arm.run.config) for arm in arms]
    differing = [key for key in dict.fromkeys(key for one in settings for key in one)
                 if key not in {"name", "arms"} and len({one.get(key) for one in settings}) > 1]  # fmt: skip
    found = []
    for arm, one in zip(arms, settings, strict=True):
        test = arm.final_test
        change = None
        if test and best.final_test and arm is not best:
            change = compare(cursor, best.final_test.evaluation_id, test.evaluation_id)
        against = "—"
        if change and test and best.final_test:
            points = f"{100 * (test.accuracy - best.final_test.accuracy):+.1f}".replace("-", "−")
            against = f"{points} points, {p_shown(change.p_value)}"
        found.append(
            ArmRow(
                arm.run.name,
                ", ".join(f"{key}={one[key]}" for key in differing if one.get(key) not in (None, "null")) or "—",
                [
                    percent(arm.base.accuracy if arm.base else None),
                    percent(test.accuracy) if test else arm.run.state,
                    f"{percent(test.low)} to {percent(test.high)}" if test else "—",
                    "the best" if arm is best and test else against,
                    f"{sum(n.kept or 0 for n in arm.iterations):,}",
                    duration(arm.wall_s),
                ],
            )
        )
    return found


def _run_rows(arms: list[Arm], run: Any, several: bool) -> list[list[Any]]:
    shown = [run, *(arm.run for arm in arms)] if several else [run]
    return [
        [
            plain(one.name, 60),
            show("run", one.run_id),
            one.state,
            f"{one.started_at:%Y-%m-%d %H:%M:%S}",
            one.prefect_flow_run_id or "—",
        ]
        for one in shown
    ]
