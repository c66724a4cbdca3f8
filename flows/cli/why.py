"""`starloop why`: what kept a step from being found cached."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from storage.home import Home
from storage.identity import show
from storage.lineage import Lineage

if TYPE_CHECKING:
    from flows.reasons import Reason


def why(run: str, step: str, /, *, iteration: int | None = None, json_: bool = False, home: Path | None = None) -> None:
    """Why a step of a run was computed: what differed from the nearest earlier one, and where that began.

    Parameters
    ----------
    run
        A run id, or the beginning of one.
    step
        A step's name as the run shows it, such as sample, mix or fine-tune.
    iteration
        Only this iteration's.
    json_
        As JSON, for scripts.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from flows.reasons import as_json, reasons
    from storage.history import History

    opened = Home.existing(home)
    with Lineage.open(opened, fresh=True) as lineage:
        run_id = lineage.find(run, ("run",)).id
    found = reasons(History.of(opened), run_id, step, iteration)
    if json_:
        sys.stdout.write(json.dumps([as_json(reason) for reason in found], indent=1) + "\n")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for reason in found:
        cells = "" if reason.cells == 1 else f" ({reason.cells} cells)"
        console.print(Text.assemble((f"{reason.place}{cells}", "bold"), f"  {sentence(reason)}"))


def sentence(reason: "Reason") -> str:
    """The reason in words."""
    if reason.nearest is None:
        return "nothing like it had been done in this home"
    near = reason.nearest
    beside = f"compared with {near.iteration} {near.name} of {near.run or 'a run'} ({show('run', near.run_id)[:12]})"
    if not reason.differences:
        return f"its key had been made before, and the result was gone or damaged; {beside}"
    changed = ", ".join(str(one) for one in reason.differences)
    source = f", from {', '.join(reason.upstream)}" if reason.upstream else ""
    return f"{changed}{source}; {beside}"
