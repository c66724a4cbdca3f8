"""`starloop verify-store`, `starloop rebuild` and `starloop gc`: the store itself."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flows.cli.answer import shown
from storage.home import Home
from storage.identity import show

if TYPE_CHECKING:
    from storage.collecting import Plan


def verify_store(*, json_: bool = False, home: Path | None = None) -> None:
    """Check everything that is stored, and name what is wrong and what to do; the exit code is then 1.

    Every shard against its digest, every event, every reference, the accounting, every checkpoint's files, every cached result.

    Parameters
    ----------
    json_
        As JSON, for scripts.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from storage.ledger import Ledger

    opened = Home.existing(home)
    ledger = Ledger(opened)
    try:
        faults = ledger.verify()
        checked = ledger.counted()
    finally:
        ledger.close()
    if json_:
        sys.stdout.write(json.dumps({"sound": not faults, "faults": faults, "checked": checked}, indent=1) + "\n")
    else:
        for fault in faults:
            sys.stdout.write(f"{printable(fault)}\n")
        counts = ", ".join(f"{count:,} {what}" for what, count in checked.items())
        sys.stdout.write(f"{f'{len(faults)} faults' if faults else 'sound'}: {counts} in {opened.root}\n")
    sys.exit(1 if faults else 0)


def rebuild(*, home: Path | None = None) -> None:
    """Make both databases again from shards and events; nothing else is touched.

    Parameters
    ----------
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from storage.ledger import Ledger

    opened = Home.existing(home)
    ledger = Ledger(opened)
    try:
        ledger.rebuild()
        ledger.publish(force=True)
        checked = ledger.counted()
    finally:
        ledger.close()
    sys.stdout.write(f"rebuilt {opened.root} from {checked['events']:,} events and {checked['shards']:,} shards\n")


def gc(
    *,
    drop: Annotated[list[str] | None, Parameter(negative=())] = None,
    keep: str | None = None,
    yes: bool = False,
    json_: bool = False,
    home: Path | None = None,
) -> None:
    """Show what no kept run needs any more, and how many bytes that is; with --yes, remove it.

    Parameters
    ----------
    drop
        A run that need not be kept (of a group: with its arms), by id or the beginning of one. May be repeated. Its events stay.
    keep
        Which checkpoints of the kept runs leave their weights: all, best (on dev), promoted, or "last 2"; if not given, as each run's
        configuration says. Bases, unfinished runs and whatever an alias or a promotion names stay; the ledger's rows all do.
    yes
        Remove it; without this, nothing is changed.
    json_
        As JSON, for scripts.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from storage.collecting import collect, plan
    from storage.ledger import Ledger
    from storage.lineage import Lineage
    from storage.occupancy import alone
    from storage.retention import Rule
    from tasks.registered import registered

    opened = Home.existing(home)
    rule = Rule.parse(keep) if keep is not None else None
    ledger = Ledger(opened)
    freed = 0
    try:
        with Lineage.open(opened, fresh=True) as lineage:
            runs = [lineage.find(one, ("run",)).id for one in drop or []]
        with alone(opened, "gc"):
            found = plan(ledger, runs, registered(opened), rule)
            if yes and (found.going or found.runs):
                if found.weights:
                    freed = drop_versions(opened, found.weights)
                collect(ledger, found)
    finally:
        ledger.close()
    if json_:
        print_json(found, removed=yes)
    else:
        print_plan(found, removed=yes)
        if freed:
            sys.stdout.write(f"and {freed:,} bytes of their versions in MLflow\n")


def drop_versions(home: Home, weights: list[str]) -> int:
    """Remove what MLflow holds of these checkpoints; the bytes that came free."""
    from tasks.processes import Processes

    with Processes(home.logs, preload=("tracking",)) as processes:
        made = processes.call("tasks.tracking_aliases:drop", str(home.root), weights, log=home.logs / "mlflow.log")
    return int(made["bytes"])


def print_json(found: "Plan", *, removed: bool) -> None:
    document = {
        "removed": removed,
        "bytes": found.bytes,
        "runs": found.runs,
        "steps": len(found.steps),
        "weights": found.weights,
        "going": [{"kind": one.kind, "path": one.path, "bytes": one.bytes} for one in found.going],
        "kept": found.kept,
    }
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


def print_plan(found: "Plan", *, removed: bool) -> None:
    """By kind, with the largest of each named."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    table = Table("", "files", "bytes", "the largest", box=box.SIMPLE_HEAD)
    for kind in dict.fromkeys(one.kind for one in found.going):
        some = sorted((one for one in found.going if one.kind == kind), key=lambda one: -one.bytes)
        table.add_row(kind, f"{len(some):,}", f"{sum(one.bytes for one in some):,}", Text(shown(some[0].path)))
    if found.going:
        console.print(table)
    for reason in found.kept:
        console.print(reason, style="dim", markup=False)
    if found.weights:
        console.print(
            f"{len(found.weights):,} checkpoints {'lost' if removed else 'would lose'} their weights; what needs them again trains them again"
        )
    for run in found.runs:
        steps = f"{len(found.steps):,} steps" if len(found.runs) == 1 else "its steps"
        console.print(f"{show('run', run)}: {steps} {'went' if removed else 'would go'}; its events stay", markup=False)
    if not found.going and not found.runs:
        console.print("nothing to collect: kept runs need everything here")
    elif removed:
        console.print(f"removed {len(found.going):,} files and folders, {found.bytes:,} bytes")
    else:
        console.print(f"{found.bytes:,} bytes would come free; nothing was changed, --yes does it")


def printable(text: str) -> str:
    """Control characters made visible, whatever its length."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
