"""`starloop compare`: methods on the same problems at equal generated tokens."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.cli.settings import Assignments, Preset, parse
from storage.home import Home

if TYPE_CHECKING:
    from rich.console import Console


def compare(
    *,
    methods: str,
    preset: Preset = None,
    budget_tokens: int,
    seeds: int = 3,
    set: Assignments = None,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
    home: Path | None = None,
) -> None:
    """Compare methods on the same problems, base and held-out set, each with the same number of generated tokens.

    The same command again goes on from where it was, and with more tokens from there.

    Parameters
    ----------
    methods
        With commas: star,rest_em.
    budget_tokens
        How many tokens the iterations of each method and seed may generate; base, dev and test do not count.
    seeds
        How many seeds: 0, 1, 2, …
    json_
        As JSON, for scripts.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console

    from flows.cli.run import on_server
    from flows.contenders import contenders
    from flows.machine import workers

    names, changes = [one.strip() for one in methods.split(",") if one.strip()], parse(set or [])
    contenders(names, preset, budget_tokens, seeds, changes)
    workers()
    opened = Home.open(home)

    def request() -> Any:
        from flows.compare import CompareRequest

        return CompareRequest(
            preset=preset, home=str(opened.root), methods=tuple(names), budget_tokens=budget_tokens, seeds=seeds, changes=changes
        )  # fmt: skip

    show_comparison(opened, on_server("compare", request, opened, Console(stderr=json_)), json_)


def show_comparison(home: Home, run_id: str, json_: bool) -> None:
    """What a comparison came to, its chart as a file, and its report."""
    from rich.console import Console

    from flows.cli.report import write_report
    from storage.home import atomic_write
    from storage.lineage import Lineage
    from storage.report.comparison import comparison_chart, standalone

    with Lineage.open(home, fresh=True) as lineage:
        found = lineage.run(run_id).facts["comparison"]
    picture = home.reports / f"{run_id}.svg"
    picture.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(picture, standalone(comparison_chart(found)).encode())
    report = write_report(home, run_id)
    if json_:
        document = {"run_id": run_id, "chart": str(picture), "report": str(report), **found}
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
        return
    console = Console(soft_wrap=True, highlight=False)
    print_comparison(found, console)
    console.print(f"chart: {picture}", markup=False)
    console.print(f"report: {report}", markup=False)


def print_comparison(found: dict[str, Any], console: "Console") -> None:
    """The two tables, and what did not come to its test."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from storage.report.comparison import COLUMNS, PAIR_COLUMNS, failures, pair_rows, rows

    for columns, lines in ((COLUMNS, rows(found)), (PAIR_COLUMNS, pair_rows(found))):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for column in columns:
            table.add_column(column, justify="left" if column in {"method", "between"} else "right", overflow="fold")
        for line in lines:
            table.add_row(*map(Text, line))
        console.print(table)
    for sentence in failures(found):
        console.print(Text(sentence, "yellow"))
    console.print(Text(found["counted"], "dim"))
