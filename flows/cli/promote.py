"""`starloop promote` and `starloop rollback`: who is called champion in MLflow, on what evidence."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.cli.answer import shown
from storage.errors import PromotionRefused
from storage.home import Home
from storage.identity import show

if TYPE_CHECKING:
    from storage.promotions import Promotion


def promote(
    what: str,
    /,
    *,
    to: str = "champion",
    sets: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    alpha: float | None = None,
    min_effect: float | None = None,
    max_drop: float | None = None,
    force: Annotated[bool, Parameter(negative=())] = False,
    reason: str | None = None,
    new_alias: Annotated[bool, Parameter(negative=())] = False,
    json_: bool = False,
    home: Path | None = None,
) -> None:
    """Give an alias in MLflow to a checkpoint that passes every gate; else say which gate refuses and by how much (exit code 1).

    Parameters
    ----------
    what
        A run (the checkpoint it tested last) or a checkpoint, or the beginning of an id; latest is the run that was completed last.
    to
        The alias that is to move.
    sets
        A further problem set that must not get worse, e.g. gsm8k. May be repeated; the run's own evaluation.also is always one.
    alpha
        Largest p-value of the paired exact McNemar test on the test problems; 0.05 if not given.
    min_effect
        Least gain in accuracy, as a share; 0.01, a point, if not given.
    max_drop
        How much worse any named set may get, as a share; 0.02 if not given.
    force
        Promote though a gate refuses.
    reason
        Why it is forced; recorded in the ledger and on the version.
    new_alias
        The alias may be one that nothing has had so far.
    json_
        As JSON, with every gate's figures.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console

    from flows.cli.run import given, on_server

    opened = Home.existing(home)
    wanted = given({"alpha": alpha, "min_effect": min_effect, "max_drop": max_drop, "reason": reason})

    def request() -> Any:
        from flows.promote import PromoteRequest
        from flows.validation import validated

        settings = {
            "what": what,
            "to": to,
            "sets": sets or [],
            "force": force,
            "new_alias": new_alias,
            "home": str(opened.root),
        }
        asked = validated(PromoteRequest, settings | wanted, "promote")
        asked.check()
        return asked

    try:
        on_server("promote", request, opened, Console(stderr=True))
    except PromotionRefused:
        told(opened, json_)
        raise
    told(opened, json_)


def rollback(
    model: str | None = None,
    /,
    *,
    to: str = "champion",
    reason: str | None = None,
    json_: bool = False,
    home: Path | None = None,
) -> None:
    """Give an alias back to who held it before; again, to the one before that. At once: no gate is asked.

    Parameters
    ----------
    model
        The registered model; need not be said where only one has the alias.
    to
        The alias.
    reason
        Why; recorded.
    json_
        As JSON, for scripts.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console

    from flows.cli.console import ConsoleListener
    from flows.rollback import rollback as carry_out

    opened = Home.existing(home)
    with ConsoleListener(Console(stderr=True)) as listening:
        carry_out(opened, listening, to, model, reason)
    told(opened, json_)


def told(home: Home, json_: bool) -> None:
    """What was last decided: its gates with their figures, and what came of it."""
    from storage.lineage import Lineage
    from storage.promotions import promotions

    with Lineage.open(home, fresh=True) as lineage:
        last = promotions(lineage)[-1]
    if json_:
        document = asdict(last) | {"happened_at": last.happened_at.isoformat() if last.happened_at else None}
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        print_promotion(last)


def print_promotion(one: "Promotion") -> None:
    """The gates, a line each, and who holds the alias now."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    if one.gates:
        table = Table("gate", "", "", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for gate in one.gates:
            ruling = Text("passed", style="green") if gate["passed"] else Text("refused", style="bold red")
            table.add_row(gate["gate"], ruling, Text(shown(gate["said"])))
        Console(highlight=False).print(table)
    name = show("ckp", one.checkpoint_id)[:12] if one.checkpoint_id else "a version that starloop did not make"
    if one.looks is not None:
        console.print(f"these test problems were looked at {one.looks} times so far", style="dim")
    if one.state == "refused":
        console.print(
            f'{one.model_name}@{one.alias} stays as it is; --force --reason "…" promotes all the same', markup=False
        )
        return
    before = f"version {one.previous_version}" if one.previous_version else "nobody"
    forced = f", forced: {shown(one.reason)}" if one.forced else ""
    console.print(
        f"{one.model_name}@{one.alias} is version {one.version} ({name}), before: {before}{forced}", markup=False
    )
    console.print(
        f'  mlflow.transformers.load_model("models:/{one.model_name}@{one.alias}")', style="cyan", markup=False
    )
