"""`starloop label`: a person judges a sample of stored attempts; the labels measure the verifiers on the home's own data."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.answer import shown
from storage.home import Home

if TYPE_CHECKING:
    from rich.console import Console

    from flows.labels import Sampled

KEPT_EVERY = 10
"""Labels that are written at once; a kill costs no more."""

ANSWERS = {"p": True, "f": False, "u": None}
KEYS = "[p]ass, [f]ail, [u]ndecidable, [s]kip, [q]uit"


def label(
    *,
    verifier: str | None = None,
    run: str | None = None,
    count: int = 30,
    seed: int = 0,
    home: Path | None = None,
) -> None:
    """Judge a sample of attempts, even over what verifiers passed, failed and left undecided; their verdicts are not shown.

    Each answer is kept as a verdict of the verifier `human`. `starloop audit-verifier REF --home HOME` measures on them.

    Parameters
    ----------
    verifier
        Only what this verifier judged.
    run
        Only what this run judged; a run id, or the beginning of one.
    count
        How many to judge at most.
    seed
        Which sample; those labelled already are left out of every one.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console

    from flows.labels import Label, finish, keep, sample, sitting
    from storage.errors import UserMistake

    if count < 1:
        raise UserMistake(f"--count {count} leaves nothing to judge; give 1 or more")
    opened = Home.existing(home)
    drawn = sample(opened, count, verifier=verifier, run=run, seed=seed)
    console = Console(highlight=False)
    console.print(f"{len(drawn)} attempts; is each right? {KEYS}; after p or f, words are kept as a note", markup=False)
    run_id, given, kept, batch = sitting(), [], 0, 0
    try:
        for number, one in enumerate(drawn, start=1):
            show_attempt(one, f"{number} of {len(drawn)}", console)
            answer = asked()
            if answer is None:
                break
            if answer[0] in ANSWERS:
                given.append(Label(one.attempt_id, ANSWERS[answer[0]], answer[1:].strip() or None))
            if len(given) == KEPT_EVERY:
                keep(opened, given, run_id, batch)
                given, kept, batch = [], kept + len(given), batch + 1
    finally:
        if given:
            keep(opened, given, run_id, batch)
            kept += len(given)
        if kept:
            finish(opened, run_id, kept)
    console.print(
        f"{kept} labels kept; starloop audit-verifier REF --home {opened.root} measures a verifier on them",
        markup=False,
    )


def asked() -> str | None:
    """A key and what follows it; None to stop, also where the input ends."""
    while True:
        sys.stdout.write("> ")
        sys.stdout.flush()
        line = sys.stdin.readline()
        answer = line.strip()
        if not line or answer.lower() in ("q", "quit"):
            return None
        key, note = answer[:1].lower(), answer[1:]
        whole = answer.partition(" ")[0].lower()
        named = {"pass": "p", "fail": "f", "undecidable": "u", "skip": "s"}.get(whole)
        if named is not None:
            return named + answer[len(whole) :]
        if key in {*ANSWERS, "s"} and (not note or note[0].isspace()):
            return key + note
        sys.stdout.write(f"{KEYS}\n")


def show_attempt(one: "Sampled", place: str, console: "Console") -> None:
    """The question, its gold answer and the text, all of it that is no control character."""
    from rich.text import Text

    console.print()
    console.rule(place, style="dim", align="left")
    for name, value in (("question", one.question), ("gold", one.gold), ("attempt", one.text)):
        text = value or "—"
        visible = "\n".join(shown(line) for line in text.splitlines()) if text.strip() else "—"
        console.print(Text.assemble((f"{name:<9}", "dim"), visible))
