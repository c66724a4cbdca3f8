"""`starloop zpd`: whether a model is in the zone of a task, before anything is trained."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flows.cli.settings import Preset
from storage.home import Home

if TYPE_CHECKING:
    from rich.console import Console


def zpd(
    *,
    engine: str | None = None,
    problems: str | None = None,
    model: str | None = None,
    preset: Preset = None,
    template: str | None = None,
    verifier: str | None = None,
    chat: Literal["auto", "on", "off"] | None = None,
    max_tokens: int | None = None,
    count: int = 200,
    json_: bool = False,
    home: Path | None = None,
) -> None:
    """Is this the right model for this task? Measured on held-out problems: accuracy, pass@8, what a hint helps; and advice.

    Parameters
    ----------
    engine
        What generates text, e.g. transformers:dtype=bfloat16.
    problems
        A problem set, e.g. gsm8k; its dev split is asked.
    model
        A checkpoint of this home (ckp_…), a folder, a GGUF file, or a name on the hub.
    template
        Prompt templates, if not the problem set's own.
    verifier
        What judges, if not the problem set's own.
    chat
        Prompts as a user's turn in the model's chat template; auto: where it has one.
    max_tokens
        Longest answer, in tokens.
    count
        How many problems.
    json_
        As JSON, for scripts.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console

    from flows.cli.run import on_server
    from storage.errors import UserMistake
    from storage.lineage import Lineage

    if preset is None and (problems is None or model is None):
        raise UserMistake("say what is measured: --problems and --model, or a --preset that names both")
    opened = Home.open(home)

    def request() -> Any:
        from flows.zpd import ZpdRequest

        return ZpdRequest(
            preset=preset, home=str(opened.root), engine=engine, problems=problems, model=model, template=template,
            verifier=verifier, chat=chat, max_tokens=max_tokens, count=count,
        )  # fmt: skip

    run_id = on_server("zpd", request, opened, Console(stderr=json_))
    with Lineage.open(opened, fresh=True) as lineage:
        done = lineage.run(run_id)
    if json_:
        sys.stdout.write(json.dumps({"run_id": run_id, **done.facts["zone"]}, indent=1) + "\n")
    else:
        show(Console(highlight=False), done.config, done.facts["zone"])


def show(console: "Console", config: dict[str, Any], zone: dict[str, Any]) -> None:
    """A line a figure, then the advice."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_header=False, padding=(0, 1), pad_edge=False)
    decided = zone["n"] - zone["undecided"]
    table.add_row("model", Text(config["model"]["source"]))
    table.add_row("problems", Text(f"{zone['n']} of {config['problems']}, dev"))
    table.add_row(
        "accuracy",
        f"{share(zone['accuracy'])} [{share(zone['ci_low'])}, {share(zone['ci_high'])}] of {decided}, greedy",
    )
    table.add_row("undecided", str(zone["undecided"]))
    table.add_row("pass@8", f"{share(zone['pass_at_8'])} of {zone['tried_8']}")
    table.add_row("with the hint", f"{share(zone['rationalization_rate'])} of {zone['failed']} failures")
    table.add_row("cost", f"{zone['tokens']:,} tokens, {zone['seconds']:.0f} s of work")
    console.print(table)
    console.print(Text(f"{zone['verdict']} the zone{'' if zone['sure'] else ', borderline'}", "bold"))
    for sentence in zone["advice"]:
        console.print(Text(sentence))


def share(value: float | None) -> str:
    return "none decided" if value is None else f"{100 * value:.1f} %"
