"""`starloop forget`: a text taken out for good, after showing what stands on it."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli.answer import shown
from storage.errors import UserMistake
from storage.home import Home
from storage.identity import show

if TYPE_CHECKING:
    from rich.console import Console

    from storage.forgetting import Found
    from storage.ledger import Ledger
    from storage.redo import Redo
    from storage.traces import Trace


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was found, what would be redone, and, once it is erased, where the text still stands."""

    found: "Found"
    redo: "list[Redo]"
    erased: int | None = None
    traces: "list[Trace] | None" = None


def forget(
    what: str, /, *, yes: bool = False, reason: str | None = None, json_: bool = False, home: Path | None = None
) -> None:
    """Show everything that stands on an example, problem or source; with --yes, take its text out for good.

    Erased are all rows that hold the text, in shards and databases, and every copy in journals, logs, reports, the outbox and
    MLflow's store; no run takes it up again. Mixes and evaluations keep its ids. Weights keep what they learned: the checkpoints
    that saw it are named, with what to run to have them made anew.

    Parameters
    ----------
    what
        An example (exm_…), a problem (prb_…), an attempt (att_…), the beginning of one, or the name of a source.
    yes
        Erase it; without this, nothing is changed. There is no way back.
    reason
        Why; recorded with the erasure. Needed with --yes.
    json_
        As JSON, for scripts.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from storage.ledger import Ledger
    from storage.occupancy import alone

    if yes and not (reason or "").strip():
        raise UserMistake('say why, since it is recorded and cannot be undone: --reason "…"')
    opened = Home.existing(home)
    kind, identity = subject(opened, what)
    ledger = Ledger(opened)
    try:
        if yes:
            with alone(opened, "forget"):
                outcome = erase(ledger, look(ledger, kind, identity), str(reason))
        else:
            outcome = look(ledger, kind, identity)
    finally:
        ledger.close()
    if json_:
        sys.stdout.write(json.dumps(document(outcome), indent=1) + "\n")
    else:
        print_outcome(outcome)
    if outcome.traces:
        sys.exit(1)


def subject(home: Home, what: str) -> tuple[str, str]:
    """Kind and id, or `source` and its name. Raises UserMistake with the nearest ids."""
    from storage.lineage import Lineage

    with Lineage.open(home, fresh=True) as lineage:
        sources = lineage.sources()
        if what in sources:
            return "source", what
        try:
            named = lineage.find(what, ("example", "problem", "attempt"))
        except UserMistake as mistake:
            known = f"; sources: {', '.join(sources)}" if sources else ""
            raise UserMistake(f"{mistake}{known}") from mistake
        return named.kind, named.id


def look(ledger: "Ledger", kind: str, identity: str) -> Outcome:
    """What it leads to; nothing is changed."""
    from storage.forgetting import find
    from storage.redo import redo

    with ledger.writer() as connection:
        found = find(connection, kind, identity)
        return Outcome(found, redo(connection, [digest for _, digest in found.shards]))


def erase(ledger: "Ledger", outcome: Outcome, reason: str) -> Outcome:
    """The erasure, and a last look through everything under the home."""
    from storage.forgetting import forget as erase_rows
    from storage.traces import remaining

    erased = erase_rows(ledger, outcome.found, reason, [one.run_id for one in outcome.redo])
    with ledger.writer() as connection:
        traces = remaining(ledger.home, outcome.found.texts, connection)
    return Outcome(outcome.found, outcome.redo, len(erased), traces)


def commands(redo: "list[Redo]") -> list[str]:
    """What makes each run anew without it."""
    return [f"starloop resume {show('run', one.run_id)[:16]}" for one in redo if one.state != "dropped"]


def document(outcome: Outcome) -> dict[str, Any]:
    found = outcome.found
    return {
        "what": found.what,
        "rows": found.counts,
        "shards": [digest for _, digest in found.shards],
        "mixes": found.mixes,
        "trainings": found.trainings,
        "checkpoints": found.checkpoints,
        "descendants": found.descendants,
        "evaluations": found.evaluations,
        "promotions": found.promotions,
        "redo": [{"run_id": one.run_id, "name": one.name, "steps": one.steps} for one in outcome.redo],
        "commands": commands(outcome.redo),
        "erased_shards": outcome.erased,
        "still_there": None if outcome.traces is None else [{"place": t.place, "rows": t.rows} for t in outcome.traces],
    }


def print_outcome(outcome: Outcome) -> None:
    """What was found, what it went into, what to run; then what was erased, or how to."""
    from rich.console import Console

    console, found = Console(highlight=False, soft_wrap=True), outcome.found
    done = outcome.erased is not None
    rows = ", ".join(f"{count:,} {table}{'s' if count > 1 else ''}" for table, count in found.counts.items())
    say(console, f"{'forgotten' if done else 'would be forgotten'}: {rows}, in {len(found.shards):,} shards", "bold")
    for text in found.texts[:5]:
        say(console, f"  {shown(text)}")
    if len(found.texts) > 5:
        say(console, f"  and {len(found.texts) - 5:,} more texts")
    listed(console, "trained on it", "ckp", found.checkpoints)
    listed(console, "made with or from those", "ckp", found.descendants)
    say(console, f"{len(found.mixes):,} mixes, {len(found.trainings):,} trainings, {len(found.evaluations):,} evaluations and "
                 f"{len(found.promotions):,} promotions stand on it")  # fmt: skip
    for one in outcome.redo:
        cells = sum(cells for _, _, cells in one.steps)
        names = ", ".join(dict.fromkeys(f"{iteration} {name}" for iteration, name, _ in one.steps))
        say(
            console,
            f"{one.name} ({show('run', one.run_id)[:12]}): at most {cells:,} cells would be redone: {names}",
            "dim",
        )
    for command in commands(outcome.redo):
        say(console, f"  {command}", "cyan")
    if not done:
        say(console, 'nothing was changed; --yes --reason "…" erases it, and there is no way back')
        return
    say(console, f"{outcome.erased:,} shards were rewritten or removed; both databases were made anew")
    if found.checkpoints or found.descendants:
        say(console, "weights cannot be searched: the checkpoints above have seen it", "yellow")
    for trace in outcome.traces or []:
        rows = f" ({trace.rows:,} rows)" if trace.rows is not None else ""
        say(console, f"the same words still stand in {shown(trace.place)}{rows}", "yellow")
    if not outcome.traces:
        say(console, "its text is in no file under the home", "green")


def listed(console: "Console", title: str, prefix: str, ids: list[str]) -> None:
    if ids:
        names = ", ".join(show(prefix, one)[:16] for one in ids[:8])
        say(console, f"{title}: {names}{f' and {len(ids) - 8:,} more' if len(ids) > 8 else ''}")


def say(console: "Console", text: str, style: str = "") -> None:
    console.print(text, style=style or None, markup=False)
