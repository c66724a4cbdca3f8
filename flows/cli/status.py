"""`starloop status`: what runs there are, and what became of one."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.answers import Run
from storage.home import Home
from storage.identity import show
from storage.lineage import Lineage
from storage.occupancy import anybody_at_work
from tasks.outbox import results

if TYPE_CHECKING:
    from rich.console import Console


def status(run: str | None = None, /, *, json_: bool = False, home: Path | None = None) -> None:
    """What runs there are, or one run's iterations.

    Parameters
    ----------
    run
        A run id, or the beginning of one; without it, all runs are listed.
    json_
        As JSON, for scripts.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    opened = Home.existing(home)
    with Lineage.open(opened, fresh=True) as lineage:
        if run is not None:
            chosen = lineage.run(lineage.find(run, ("run",)).id)
            arms = lineage.arms(chosen.run_id)
            documents = [document(lineage, one, opened) for one in arms or [chosen]]
            whole = documents[0] if not arms else listed(chosen, opened) | {"arms": documents}
            if json_:
                print_json(whole)
            else:
                print_runs(documents)
            return
        runs = [listed(one, opened) for one in lineage.runs()]
    if json_:
        print_json(runs)
    else:
        print_list(runs)


def document(lineage: Lineage, run: Run, home: Home) -> dict[str, Any]:
    """One run as `status --json` gives it."""
    versions = results(home.root)
    iterations = [
        one.figures
        | {
            "checkpoint_id": one.checkpoint_id,
            "mlflow_version": versions.version(one.checkpoint_id) if one.checkpoint_id else None,
        }
        for one in lineage.iterations(run.run_id)
        if one.iteration <= run.config.get("iterations", one.iteration)
    ]
    for one in iterations:
        one.pop("run_id", None)
    return listed(run, home) | {"iterations": iterations}


def listed(run: Run, home: Home) -> dict[str, Any]:
    """One run's headline. A run that says it is running in a home where nobody is at work was interrupted."""
    return {
        "run_id": run.run_id,
        "name": run.name,
        "method": run.method,
        "preset": run.preset,
        "state": "interrupted" if run.state == "running" and not anybody_at_work(home) else run.state,
        "started_at": run.started_at.isoformat(),
        "base_accuracy": run.facts.get("base_accuracy"),
        "final_accuracy": run.facts.get("final_accuracy"),
        "base_test": run.facts.get("base_test"),
        "final_test": run.facts.get("final_test"),
        "wall_s": run.facts.get("wall_s"),
        "tokens": run.facts.get("tokens"),
        **({"cost": run.facts["cost"]} if "cost" in run.facts else {}),
        "why": run.facts.get("why") or None,
        "parent_run_id": run.parent_run_id,
    }


def print_json(value: Any) -> None:
    """On standard output, alone."""
    sys.stdout.write(json.dumps(value, indent=1, sort_keys=True) + "\n")


def print_runs(documents: list[dict[str, Any]], console: "Console | None" = None) -> None:
    """Each run's table with its headline."""
    from rich.console import Console

    from flows.cli.console import percent, run_table

    console = console or Console()
    for one in documents:
        console.print(run_table(one))
        if unchecked := next((row["correctness"] for row in one["iterations"] if row.get("correctness")), None):
            console.print(unchecked, style="yellow", highlight=False, markup=False)
        test = one["final_test"]
        if test:
            interval = f"[{percent(test['ci_low'])}, {percent(test['ci_high'])}]"
            console.print(
                f"test: base {percent(one['base_accuracy'])} → final [bold]{percent(one['final_accuracy'])}[/bold] "
                f"{interval}, n = {test['n']}, {one['state']} in {one['wall_s']:.0f} s",
                highlight=False,
            )
        else:
            why = one["why"] or (
                f"starloop resume {show('run', one['run_id'])[:12]} goes on" if one["state"] == "interrupted" else ""
            )
            console.print(f"{one['state']}{': ' + why if why else ''}", highlight=False, markup=False)
        for sentence in health_lines(one["iterations"]):
            console.print(sentence, highlight=False, markup=False, style="dim")


def health_lines(iterations: list[dict[str, Any]]) -> list[str]:
    """The last iteration's health in a line, then the limits that were passed in any."""
    looked = [(one["iteration"], one["health"]) for one in iterations if one.get("health")]
    if not looked:
        return []
    n, last = looked[-1]
    curve = last.get("pass_at") or []
    figures = {
        "pass@1": curve[0] if curve else None,
        f"pass@{len(curve)}": curve[-1] if len(curve) > 1 else None,
        "lost on dev": last["lost_share"],
        "unsound": last["false_positive_share"],
        "train above dev": last["train_dev_gap"],
        "ceiling": (last.get("ceiling") or {}).get("accuracy"),
    }
    said = ", ".join(f"{name} {100 * value:.1f} %" for name, value in figures.items() if value is not None)
    passed = [f"  iteration {k}: {sign['said']} ({sign['action']})" for k, one in looked for sign in one["signs"]]
    return [f"health, iteration {n}: {said or 'nothing to measure'}", *passed]


def print_list(runs: list[dict[str, Any]]) -> None:
    """All runs, the latest first."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from flows.cli.console import percent

    if not runs:
        Console().print("no runs yet; start one with: starloop run star --preset addition-quick")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("run", "started", "state", "base", "final", "method"):
        table.add_column(column, no_wrap=True, justify="right" if column in {"base", "final"} else "left")
    table.add_column("name", overflow="fold")
    for one in runs:
        preset = "" if one["preset"] in (None, one["name"]) else f" ({one['preset']})"
        table.add_row(
            show("run", one["run_id"])[:12], one["started_at"][5:16].replace("T", " "), one["state"],
            percent(one["base_accuracy"]), percent(one["final_accuracy"]), one["method"], Text(f"{one['name']}{preset}"),
        )  # fmt: skip
    Console().print(table)


def show_end(home: Home, run_ids: list[str]) -> None:
    """What a run ends with: its tables, the report, and the three commands that come next."""
    from rich.console import Console

    from flows.cli.plan import compared
    from flows.cli.report import write_report

    with Lineage.open(home, fresh=True) as lineage:
        documents = [
            document(lineage, run, home) for run in map(lineage.run, run_ids) if lineage.iterations(run.run_id)
        ]
        plans = [said for run in map(lineage.run, run_ids) if (said := compared(home, run.run_id, run.facts))]
        checkpoint = documents[-1]["iterations"][-1]["checkpoint_id"] if documents else None
    print_runs(documents)
    for sentence in plans:
        Console().print(sentence, style="dim", markup=False, highlight=False)
    report = write_report(home, run_ids[0])
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"report: {report}")
    if checkpoint:
        place = "" if home == Home.at() else f" --home {home.root}"
        console.print("next:", style="dim")
        console.print(f"  starloop lineage {show('ckp', checkpoint)[:12]}{place}", style="cyan", markup=False)
        console.print(
            f'  starloop sql "select run, iteration, attempts, kept, pass_rate from v_yield order by run, iteration"{place}',
            style="cyan", markup=False,
        )  # fmt: skip
        console.print(f"  mlflow ui --backend-store-uri sqlite:///{home.mlflow_db}", style="cyan", markup=False)
