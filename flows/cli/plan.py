"""`starloop plan`: what a run would do, before it does it."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli.settings import Assignments, Preset, parse
from storage.home import Home

if TYPE_CHECKING:
    from flows.expected import Span
    from flows.plan import Plan, PlannedStep

SHOWN_REASONS = 3


def plan(
    method: str,
    /,
    *,
    preset: Preset = None,
    set: Assignments = None,
    iterations: int | None = None,
    price: float | None = None,
    json_: bool = False,
    home: Path | None = None,
) -> None:
    """Which steps of a run are there, which would run and why, and what that would cost. Nothing is done.

    Parameters
    ----------
    method
        star
    iterations
        How many iterations.
    price
        What a million generated tokens cost, for a paid engine whose ref does not say it.
    json_
        As JSON, for scripts.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from flows.machine import workers
    from flows.plan import keep
    from flows.plan import plan as planned
    from flows.resolving import resolve

    settings = parse(set or []) | ({} if iterations is None else {"iterations": iterations})
    opened = Home.open(home)
    made = planned(method, resolve(method, preset, settings), opened, workers())
    keep(made, opened)
    if json_:
        sys.stdout.write(json.dumps(made.to_json(), indent=1) + "\n")
    else:
        show(made, price)


def show(plan: "Plan", price: float | None) -> None:
    """A line a step, then what it adds up to and what changed beside the settings."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    table = Table(
        "step", "there", "to run", "why", "attempts", "seconds", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False
    )
    arm = ""
    for step in plan.steps:
        if step.arm != arm:
            table.add_section()
            table.add_row(Text(step.arm, "bold"))
            arm = step.arm
        todo = step.run + step.depends
        table.add_row(
            f"{step.iteration} {step.title}", str(step.hit or ""), str(todo or ""), Text(reason(step), "dim"),
            amount(step.estimate.attempts if todo else None), amount(step.estimate.seconds) if todo else "",
            style="" if todo else "dim",
        )  # fmt: skip
    console.print(table)
    console.print(in_all(plan, price))
    for assumption in plan.assumed:
        console.print(Text(f"assumed: {assumption}", "yellow"))
    for cause, steps in outside(plan).items():
        console.print(Text(f"{cause} changed: {', '.join(steps)} would be done again because of it", "yellow"))


def reason(step: "PlannedStep") -> str:
    """Why a step would run, in a few words."""
    parts = list(step.because[:SHOWN_REASONS])
    if len(step.because) > SHOWN_REASONS:
        parts.append(f"{len(step.because) - SHOWN_REASONS} more")
    if step.depends:
        parts.append(f"depends on {', '.join(step.waits_for)}")
    return "; ".join(parts)


def in_all(plan: "Plan", price: float | None) -> str:
    """One sentence: cells, attempts, tokens, time, and cost where a price is given."""
    total = plan.total
    cells = (
        f"{plan.count('hit')} cells are there, {plan.count('run')} would run, {plan.count('depends')} depend on these"
    )
    if not plan.count("run") + plan.count("depends"):
        return f"{cells}; nothing would be done"
    seconds = (
        f"{amount(total.seconds)} s" if total.seconds else "time unknown: not every step was measured in this home"
    )
    tokens = f"{amount(total.tokens)} tokens" if total.tokens else "tokens unknown"
    cost = ""
    if total.cost is None:
        cost = ", cost unknown: tokens were not counted in this home"
    elif total.cost.high:
        cost = f", at a cost of {total.cost.low:.2f}–{total.cost.high:.2f}"
    if price is not None and total.tokens:
        cost = f", {total.tokens.low * price / 1e6:.2f}–{total.tokens.high * price / 1e6:.2f} at {price:g} a million tokens"
    return f"{cells}; {amount(total.attempts) or '0'} attempts, {tokens}, {seconds}{cost}"


def outside(plan: "Plan") -> dict[str, list[str]]:
    """Code, libraries, texts and files that changed, each with the steps it would redo."""
    found: dict[str, list[str]] = {}
    for step in plan.steps:
        for cause in step.outside:
            found.setdefault(cause, []).append(f"{step.iteration} {step.title}")
    return found


def amount(span: "Span | None") -> str:
    """A range as people read it; nothing for nothing."""
    if span is None:
        return "?"
    if span.high == 0:
        return ""
    low, high = (_rounded(value) for value in (span.low, span.high))
    return low if low == high else f"{low}–{high}"


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def compared(home: Home, run_id: str, facts: dict[str, Any]) -> str | None:
    """How the plan for a run, if one was made, compares with what it did; None without a plan."""
    path = home.plans / f"{run_id}.json"
    if not path.is_file():
        return None
    planned = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    done = {(one["iteration"], one["step"]): one for one in facts.get("steps", [])}
    wrong = [
        f"{step['iteration']} {step['title']}"
        for step in planned["steps"]
        if (fact := done.get((step["iteration"], step["title"])))
        and not step["run"] <= fact["tasks_run"] <= step["run"] + step["depends"]
    ]
    ran = sum(one["tasks_run"] for one in done.values())
    seconds, took = planned["total"]["seconds"], facts["wall_s"]
    expected = f"{seconds['low']:.0f}–{seconds['high']:.0f} s" if seconds else "no time"
    cells = planned["cells"]
    sentence = (
        f"planned {cells['run']} to {cells['run'] + cells['depends']} cells and {expected}; "
        f"{ran} ran, and it took {took:.0f} s"
    )
    return f"{sentence}; otherwise than planned: {', '.join(wrong)}" if wrong else sentence
