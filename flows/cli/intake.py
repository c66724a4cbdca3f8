"""`starloop import`: a user's own attempts, examples or problems into the ledger."""

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flows.cli.answer import shown
from storage.errors import UserMistake
from storage.home import Home
from storage.identity import show


def take_in(
    file: Path,
    /,
    *,
    as_: Annotated[str, Parameter(name="--as")],
    source: str,
    licence: str,
    map: Annotated[list[str] | None, Parameter(negative=())] = None,
    run_name: str | None = None,
    skip_bad: bool = False,
    json_: bool = False,
    home: Path | None = None,
) -> None:
    """Take a JSONL or Parquet file into the ledger: whole, or with one bad row not at all. The same file again adds nothing.

    Parameters
    ----------
    file
        One JSON object a line, or Parquet.
    as_
        attempts (question, text; gold, prompt, model, finish_reason, tokens), examples (prompt, completion; question, gold),
        or problems (question; gold, rationale, stratum, split).
    source
        Where it is from; the column `source` of its problems.
    licence
        Its licence; the column `licence` of its problems.
    map
        A field under another name in the file: --map question=input. May be repeated.
    run_name
        What the import is called in lists.
    skip_bad
        Leave rows out that do not fit, and count them as rejected, with the reason.
    json_
        As JSON, for scripts.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from storage.imports import take_in as take
    from storage.intake import Intake
    from storage.ledger import Ledger
    from storage.occupancy import at_work

    intake = Intake(file, as_, source, licence, columns(map or []))
    opened = Home.open(home)
    ledger = Ledger(opened)
    try:
        with at_work(opened):
            done = take(ledger, intake, name=run_name, skip_bad=skip_bad)
    finally:
        ledger.close()
    run, taken = show("run", done.run_id), done.taken
    if json_:
        counts = None if taken is None else {"asked": taken.asked, "ok": taken.ok, "rejected": dict(taken.rejected)}
        sys.stdout.write(json.dumps({"run_id": done.run_id, "again": done.again, "rows": counts}, indent=1) + "\n")
        return
    if taken is None:
        sys.stdout.write(f"{file} was taken in before, as {run}; nothing was added\n")
        return
    sys.stdout.write(f"{run}: {taken.ok:,} of {taken.asked:,} {as_} taken in from {file}\n")
    for why, count in taken.rejected.items():
        sys.stdout.write(f"  {count:,} rejected: {shown(why)} (the first in line {taken.lines[why]})\n")


def columns(assignments: list[str]) -> dict[str, str]:
    """`field=column` by field."""
    found: dict[str, str] = {}
    for assignment in assignments:
        name, equals, column = assignment.partition("=")
        if not equals or not name or not column:
            raise UserMistake(
                f"--map {assignment!r} does not fit; write --map field=column, for example --map question=input"
            )
        found[name] = column
    return found
