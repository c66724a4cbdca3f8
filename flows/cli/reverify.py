"""`starloop reverify`: stored attempts judged again by today's code, and what stood on verdicts that no longer hold."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.cli.answer import shown
from storage.home import Home
from storage.identity import show
from storage.lineage import Lineage
from storage.taint import Consequences, Flip, consequences, flips

if TYPE_CHECKING:
    from rich.console import Console

OUTCOMES = {True: "passed", False: "failed", None: "undecided"}
EXCERPT = 60
"""Longest text in a table, in characters."""


def reverify(
    *,
    verifier: str | None = None,
    run: str | None = None,
    limit: int = 20,
    json_: bool = False,
    home: Path | None = None,
) -> None:
    """Judge stored attempts again with today's code, without generating; then list what changed and what stood on it.

    Parameters
    ----------
    verifier
        Whose verdicts to reach again: sums, or those of one version, sums@3f2a91c0.
    run
        Only what this run judged; a run id, or the beginning of one.
    limit
        How many flips to show; 0 for all.
    json_
        As JSON, with every flip and every tainted example.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console

    from flows.cli.run import on_server
    from storage.judged import Version

    if verifier:
        Version.parse(verifier)
    opened = Home.existing(home)

    def request() -> Any:
        from flows.reverify import ReverifyRequest

        return ReverifyRequest(verifier=verifier, run=run, home=str(opened.root))

    run_id = on_server("reverify", request, opened, Console(stderr=json_))
    with Lineage.open(opened, fresh=True) as lineage:
        changed, stood = flips(lineage, run_id), consequences(lineage, run_id)
        done = lineage.run(run_id)
    if json_:
        document = {"run_id": run_id, "why": done.facts.get("why"), **done.config, **_counts(done.facts)}
        document |= {"flips": [asdict(one) for one in changed], **asdict(stood)}
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
        return
    console = Console(highlight=False)
    console.print(f"{done.facts['why']}, by {', '.join(done.config['versions'])}", markup=False)
    print_flips(changed, limit or len(changed), console)
    print_consequences(stood, console)


def _counts(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in ("attempts", "cells", "cells_cached")}


def print_flips(changed: Sequence[Flip], limit: int, console: "Console") -> None:
    """How many attempts went from which outcome to which, and the first of them with their text."""
    from rich.table import Table
    from rich.text import Text

    if not changed:
        return
    counts = Counter(f"{OUTCOMES[one.was]} → {OUTCOMES[one.now]}" for one in changed)
    console.print(", ".join(f"{count:,} {way}" for way, count in counts.items()), markup=False)
    table = Table("attempt", "was", "now", "problem", "text", "why", box=None, pad_edge=False)
    for one in changed[:limit]:
        cells = [
            show("att", one.attempt_id)[:12],
            OUTCOMES[one.was],
            OUTCOMES[one.now],
            excerpt(one.question),
            excerpt(one.text),
            excerpt(one.now_reason or one.was_reason),
        ]
        table.add_row(*map(Text, cells))
    console.print(table)
    if len(changed) > limit:
        console.print(f"and {len(changed) - limit:,} more; --limit 0 shows all", style="dim")


def print_consequences(stood: Consequences, console: "Console") -> None:
    """What was made from verdicts that no longer hold, or that nothing was."""
    from rich.markup import escape

    if not (stood.examples or stood.evaluations):
        console.print("nothing was trained or scored on a verdict that no longer holds")
        return
    unsupported = len({one.example_id for one in stood.examples if not one.other_evidence})
    examples = len({one.example_id for one in stood.examples})
    if examples:
        console.print(
            f"[bold]tainted[/bold]: {examples:,} examples ({unsupported:,} with nothing else that speaks for them)"
        )
    for mix in stood.mixes:
        trained = f", training {show('trn', mix.training_id)[:12]}" if mix.training_id else ", not trained on"
        console.print(f"  mix {show('mix', mix.mix_id)[:12]}: {mix.examples:,} of {mix.rows:,} rows{trained}")
    for one in stood.checkpoints:
        later = f"; {one.descendants:,} later checkpoints were made from it" if one.descendants else ""
        console.print(f"  checkpoint {show('ckp', one.checkpoint_id)[:12]}: trained on {one.examples:,} of them{later}")
    for one in stood.evaluations:
        change = f"{one.gained:,} would count as passed now, {one.lost:,} no more"
        console.print(
            f"  evaluation {show('evl', one.evaluation_id)[:12]} of {show('ckp', one.checkpoint_id)[:12]} on "
            f"{escape(one.split)}: {one.items:,} of {one.n:,} items ({change})"
        )
    for one in stood.promotions:
        console.print(
            f"  {one.action} of {show('ckp', one.checkpoint_id)[:12]} to {escape(one.model_name)}@{escape(one.alias)} (event {one.event_seq}); "
            "`starloop rollback` puts the one before back"
        )
    console.print('all of it: starloop sql "select * from v_taint"', style="dim")


def excerpt(text: str | None) -> str:
    """The beginning of a text as a terminal may show it; model text is untrusted."""
    visible = shown(text)
    return visible if len(visible) <= EXCERPT else f"{visible[: EXCERPT - 1]}…"
