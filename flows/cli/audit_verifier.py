"""`starloop audit-verifier`: how often a verifier accepts what is wrong and rejects what is right, before it is trusted."""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.answer import shown
from storage.errors import UserMistake
from storage.home import Home

if TYPE_CHECKING:
    from flows.audit import Audit, Rate
    from flows.cases import Case
    from tasks.judgements import Means

EXCERPT = 70
"""Longest text in a table, in characters; its end is shown, since that is where an answer stands."""


def audit_verifier(
    ref: str,
    /,
    *,
    cases: Path | None = None,
    limit: int = 20,
    json_: bool = False,
    home: Path | None = None,
) -> None:
    """Measure a verifier on labelled cases: false accepts and false rejects with 95 % intervals, and verdicts per second.

    Parameters
    ----------
    ref
        math, numeric:relative=0.01, all(math,constraints), mypackage.checks:verify
    cases
        A JSON list of cases: text, gold, passed (true, false, null), and question, info, why, source. Without it, the table of
        this checkout for that verifier.
    limit
        How many disagreements to show; 0 for all.
    json_
        As JSON, with every disagreement.
    home
        Measure on what a person labelled in this home (`starloop label`) instead of a table.
    """
    from rich.console import Console

    from flows.audit import COMPARED, audit
    from flows.cases import case_table, cases_of
    from tasks.verifiers.registry import ASKS, load

    if ref != ASKS:
        load(ref)
    if home is not None:
        if cases is not None:
            raise UserMistake("give --cases or --home, not both")
        table, where = labelled(home), f"the labels in {home}"
    else:
        path = cases or case_table(ref.partition(":")[0])
        table, where = cases_of(path), str(path)
    with means(ref) as (working, rivals_too):
        compared = COMPARED.get(ref, ()) if rivals_too else ()
        audits = [audit(one, table, working) for one in (ref, *compared)]
    independent = sum(bool(case.source) for case in table)
    if json_:
        document = {"cases": where, "independent": independent, "audits": [one.as_json() for one in audits]}
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
        return
    console = Console(highlight=False)
    console.print(f"{len(table)} cases of {where}, {independent} of them from elsewhere", markup=False)
    console.print(audit_table(audits))
    if home is not None:
        first = audits[0]
        console.print(
            f"of what it passes, {of(first.wrong_among_passed)} are wrong ({interval(first.wrong_among_passed)}); "
            f"of what it fails, {of(first.right_among_failed)} are right ({interval(first.right_among_failed)})",
            markup=False,
        )
    print_disagreements(audits[0], limit or len(table), console)


@contextmanager
def means(ref: str) -> "Iterator[tuple[Means, bool]]":
    """Where the verifiers work while they are measured; engines only where a judge is asked."""
    from tasks.engine_pool import EnginePool
    from tasks.judgements import Means
    from tasks.processes import Processes
    from tasks.verifier_pool import VerifierPool
    from tasks.verifiers.registry import ASKS, judges_in

    with tempfile.TemporaryDirectory(prefix="starloop-audit-") as folder, VerifierPool(Path(folder)) as workers:
        if ref == ASKS or not judges_in(ref):
            yield Means(workers), True
            return
        with Processes(Path(folder), preload=("engine",)) as processes:
            engines = EnginePool(processes, 1, 1)
            try:
                yield Means(workers, engines), False
            finally:
                engines.end()


def labelled(home: Path) -> "list[Case]":
    """What a person said of attempts in a home, as cases."""
    from flows.labels import labels

    found = labels(Home.existing(home))
    if not found:
        raise UserMistake(f"nobody has labelled anything in {home} yet; run starloop label --home {home}")
    return found


def audit_table(audits: "list[Audit]") -> object:
    """One line a verifier."""
    from rich.table import Table

    from flows.audit import CALLED

    table = Table(
        "verifier",
        "false accepts",
        "95 %",
        "false rejects",
        "95 %",
        "undecided",
        "verdicts/s",
        box=None,
        pad_edge=False,
    )
    for one in audits:
        table.add_row(
            CALLED.get(one.verifier, one.verifier),
            of(one.false_accepts),
            interval(one.false_accepts),
            of(one.false_rejects),
            interval(one.false_rejects),
            of(one.undecided),
            f"{one.per_second:,.0f}",
        )
    return table


def of(rate: "Rate") -> str:
    return f"{rate.count} of {rate.of}"


def interval(rate: "Rate") -> str:
    """The share's interval in per cent."""
    return f"{100 * rate.interval.low:.1f}–{100 * rate.interval.high:.1f} %" if rate.of else "—"


def print_disagreements(one: "Audit", limit: int, console: object) -> None:
    """The cases on which the verifier and the person differ."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    assert isinstance(console, Console)
    outcomes = {True: "passed", False: "failed", None: "undecided"}
    if not one.disagreements:
        console.print("it agrees with every label")
        return
    table = Table("person", "verifier", "gold", "text ends with", "case", "why", box=None, pad_edge=False)
    for found in one.disagreements[:limit]:
        said, case = found.said, found.case
        text = case.text()
        end = shown(text if len(text) <= EXCERPT else f"…{text[-EXCERPT:]}")
        row = (
            outcomes[case.passed],
            outcomes[said.passed],
            shown((case.gold or "")[:30]),
            end,
            shown(case.why[:60]),
            shown((said.reason or "")[:80]),
        )
        table.add_row(*map(Text, row))
    console.print(table)
    if len(one.disagreements) > limit:
        console.print(f"and {len(one.disagreements) - limit} more; --limit 0 shows all", style="dim")
