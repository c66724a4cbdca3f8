"""`starloop sql` and `starloop lineage`: questions to the ledger."""

import csv
import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from flows.cli.answer import print_answer, readable, shown
from storage.answers import Ancestor, ExampleLineage, Link
from storage.home import Home
from storage.identity import show
from storage.lineage import Lineage
from storage.query import ROW_LIMIT, TIME_LIMIT_S

RELATIONS = {
    "base": "trained from",
    "sampled": "sampled examples by",
    "rationalized": "rationalized examples by",
    "rationalizes": "examples repaired from failures of",
    "posed": "problems posed by",
}
"""What a checkpoint is to one that was made from it, in words."""


def sql(
    query: str, /, *, csv_: bool = False, json_: bool = False, limit: int = ROW_LIMIT, timeout: float = TIME_LIMIT_S,
    home: Path | None = None,
) -> None:  # fmt: skip
    """Ask the ledger in SQL. It can read the ledger and nothing else.

    Parameters
    ----------
    query
        One SELECT, in DuckDB's SQL; tables and views are in docs/lineage.md, or: select * from v_run.
    csv_
        As CSV.
    json_
        As a JSON list of objects.
    limit
        At most this many rows; 0 for all.
    timeout
        Stop after so many seconds.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    with Lineage.open(Home.existing(home), fresh=True) as lineage:
        answer = lineage.query(query, limit=limit or None, timeout_s=timeout)
    if json_:
        rows = [dict(zip(answer.columns, map(readable, row), strict=True)) for row in answer.rows]
        sys.stdout.write(json.dumps(rows, indent=1, default=str) + "\n")
    elif csv_:
        writer = csv.writer(sys.stdout)
        writer.writerow(answer.columns)
        writer.writerows([["" if value is None else readable(value) for value in row] for row in answer.rows])
    else:
        print_answer(answer)
    if answer.more:
        sys.stderr.write(f"starloop: only the first {len(answer.rows)} rows are shown; --limit 0 shows all\n")


TEXTS = {"attempt": "text", "problem": "question"}
"""What is shown of each kind of thing that an attempt can be made from."""
MOST_PARENTS = 12


def lineage(identity: str, /, *, home: Path | None = None) -> None:
    """Where an example or a checkpoint came from, down to the base, as a tree.

    Parameters
    ----------
    identity
        An example (exm_…), a checkpoint (ckp_…), or the beginning of one.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console

    console = Console(highlight=False)
    with Lineage.open(Home.existing(home), fresh=True) as opened:
        named = opened.find(identity, ("example", "checkpoint", "attempt"))
        if named.kind == "checkpoint":
            console.print(checkpoint_tree(opened.checkpoint_ancestry(named.id)))
            return
        examples = [named.id] if named.kind == "example" else trained_as(opened, named.id)
        for example in examples:
            console.print(example_tree(opened, opened.example_lineage(example)))


def trained_as(opened: Lineage, attempt_id: str) -> list[str]:
    """The examples that an attempt became; UserMistake if it never was one."""
    from storage.errors import UserMistake

    query = f"select distinct example_id from example_evidence where attempt_id = '{UUID(attempt_id)}'"
    found = [str(readable(row[0])) for row in opened.query(query).rows]
    if not found:
        raise UserMistake(f"attempt {show('att', attempt_id)} was never trained on; see it with: starloop sql \"select * from "
                          f"v_attempt where attempt_id = '{attempt_id}'\"")  # fmt: skip
    return found


def example_tree(opened: Lineage, found: ExampleLineage) -> Any:
    """One example: what it says, who wrote it, and what it went into."""
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree(Text(f"example {show('exm', found.example.example_id)}", style="bold"))
    tree.add(Text.assemble(("prompt      ", "dim"), shown(found.example.prompt)))
    tree.add(Text.assemble(("completion  ", "dim"), shown(found.example.completion)))
    origin = tree.add(Text("where it came from", style="bold"))
    for source in found.sources[:10]:
        branch = origin.add(Text(f"{source.origin}, in mix {show('mix', source.mix_id)[:12]}"))
        branch.add(
            Text.assemble(("problem     ", "dim"), shown(source.question), ("  gold ", "dim"), shown(source.gold))
        )
        if source.attempt_id:
            hint = " (hinted: the hint is not in the example)" if source.hinted else ""
            branch.add(Text.assemble(("prompt      ", "dim"), shown(source.prompt), (hint, "yellow")))
            branch.add(
                Text.assemble((f"attempt     {show('att', source.attempt_id)[:12]} ", "dim"), shown(source.text))
            )
            outcome = {True: "passed", False: "failed", None: "undecided"}[source.passed]
            branch.add(
                Text.assemble(
                    ("verdict     ", "dim"), f"{source.verifier}: {outcome}", (f" {source.reason or ''}", "dim")
                )
            )
        if source.attempt_id:
            made_from(branch, opened, [one for one in found.links if one.mix_id == source.mix_id], source.attempt_id)
        if source.checkpoint_id:
            writer = branch.add(Text.assemble(("written by  ", "dim"), show("ckp", source.checkpoint_id)))
            ancestry = opened.checkpoint_ancestry(source.checkpoint_id)
            describe(writer, ancestry[0], {one.checkpoint_id: one for one in ancestry}, set())
    if len(found.sources) > 10:
        origin.add(Text(f"and {len(found.sources) - 10} more", style="dim"))
    uses = tree.add(Text("what it went into", style="bold"))
    for use in found.uses[:20]:
        made = f" → {show('ckp', use.checkpoint_id)}" if use.checkpoint_id else ", not trained on yet"
        uses.add(Text(f"mix {show('mix', use.mix_id)[:12]} at {use.position}{made}"))
    if len(found.uses) > 20:
        uses.add(Text(f"and {len(found.uses) - 20} more", style="dim"))
    return tree


def made_from(branch: Any, opened: Lineage, links: list[Link], attempt_id: str) -> None:
    """What an attempt was made from, and below it what that was made from: earlier attempts, and tasks that were shown to its writer."""
    from rich.text import Text

    told: dict[tuple[str, str], None] = {
        (one.relation, one.to_id): None
        for one in links
        if one.kind == "attempt" and one.id == attempt_id and one.to_kind in TEXTS
    }
    for relation, identity in list(told)[:MOST_PARENTS]:
        kind = "problem" if relation == "seed" else "attempt"
        prefix = "prb" if kind == "problem" else "att"
        text = opened.rows(f"select {TEXTS[kind]} from {kind} where {kind}_id = ?", [UUID(identity)])
        line = branch.add(
            Text.assemble(
                (f"{relation:<12}{show(prefix, identity)[:12]} ", "dim"), shown(text[0][0] if text else "forgotten")
            )
        )
        if kind == "attempt":
            made_from(line, opened, links, identity)


def checkpoint_tree(ancestors: list[Ancestor]) -> Any:
    """A checkpoint with everything it was made from, down to the base."""
    from rich.text import Text
    from rich.tree import Tree

    tree = Tree(Text(f"checkpoint {show('ckp', ancestors[0].checkpoint_id)}", style="bold"))
    describe(tree, ancestors[0], {one.checkpoint_id: one for one in ancestors}, set())
    return tree


def describe(branch: Any, ancestor: Ancestor, known: dict[str, Ancestor], seen: set[str]) -> None:
    """What a checkpoint was trained on, and below it what it was made from; what stands in the tree already is only named."""
    from rich.text import Text

    if ancestor.mix_id and ancestor.rows is not None:
        original = ancestor.original_rows or 0
        branch.add(Text(f"trained on mix {show('mix', ancestor.mix_id)[:12]}: {ancestor.rows:,} examples, {original:,} original",
                        style="dim"))  # fmt: skip
    if ancestor.source:
        branch.add(Text(f"from {ancestor.source}", style="dim"))
    relations: dict[str, list[str]] = {}
    for parent in ancestor.parents:
        what = RELATIONS.get(parent.relation, parent.relation)
        count = f"{parent.examples:,} {what}" if parent.examples else what
        relations.setdefault(parent.parent_id, []).append(count)
    # Those that wrote examples before the base: what they were made from leads to it as well.
    for parent_id, made in sorted(relations.items(), key=lambda entry: RELATIONS["base"] in entry[1]):
        below = branch.add(Text.assemble((f"{', '.join(made)}: ", "dim"), f"checkpoint {show('ckp', parent_id)}"))
        if parent_id in known and parent_id not in seen:
            seen.add(parent_id)
            describe(below, known[parent_id], known, seen)
        elif parent_id in seen:
            below.add(Text("shown above", style="dim"))
