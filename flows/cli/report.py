"""`starloop report`: one self-contained HTML file about a run."""

import sys
from pathlib import Path

from storage.errors import UserMistake
from storage.home import Home
from storage.lineage import Lineage
from storage.report import write_report

__all__ = ["report", "write_report"]


def report(run: str | None = None, /, *, home: Path | None = None, out: Path | None = None) -> None:
    """Write one self-contained HTML file about a run, and print where it is.

    Parameters
    ----------
    run
        A run id, or the beginning of one; the latest run if not given. Of a group of runs: its arms beside each other.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    out
        Where to write it; reports/RUN.html in the home if not given.
    """
    opened = Home.existing(home)
    with Lineage.open(opened, fresh=True) as lineage:
        run_id = lineage.find(run, ("run",)).id if run is not None else latest(lineage)
    sys.stdout.write(f"{write_report(opened, run_id, out)}\n")


def latest(lineage: Lineage) -> str:
    """The run that was started last, as a whole: of an arm, its group."""
    runs = [run for run in lineage.runs() if run.method not in {"reverify", "zpd"}]
    if not runs:
        raise UserMistake(f"no runs in {lineage.home.root}; start one with: starloop run star --preset addition-quick")
    return runs[0].parent_run_id or runs[0].run_id
