"""`starloop preview`: exactly what a run would send to the model and train on, before it does."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.cli.lineage import shown
from flows.cli.settings import parse
from storage.home import Home
from storage.records import Attempt, Problem

if TYPE_CHECKING:
    from rich.console import Console

    from flows.config import LoopConfig

CHARACTERS = 4000
"""Longest text shown."""


def preview(
    method: str,
    /,
    *,
    preset: str | None = None,
    set: Annotated[list[str] | None, Parameter(negative=())] = None,
    problems: int = 1,
    checkpoint: str | None = None,
    home: Path | None = None,
) -> None:
    """Show a prompt with its special tokens, its hinted twin, a sampled answer with its verdict, and a training row with its mask.

    Parameters
    ----------
    method
        star
    preset
        A ready-made run (see `starloop presets`).
    set
        A setting that should be different, by dotted name. May be repeated.
    problems
        How many training problems to show.
    checkpoint
        The model that answers (ckp_…); without it, the newest checkpoint of this run, if there is one.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console

    from flows.config import resolve
    from tasks.problems.registry import load
    from tasks.prompts.render import render

    config = resolve(method, preset, parse(set or []))
    opened = Home.open(home)
    problem_set = load(config.problems)
    template = config.template or problem_set.template
    model = find_model(opened, checkpoint)
    console = Console(highlight=False, soft_wrap=True)
    rows = problem_set.take("train", 0, problems)
    for problem in rows:
        heading(console, f"problem {shown(problem.question)}  gold {shown(problem.gold)}  {problem.stratum}")
        field(console, "prompt", visible(render(template, problem).text))
        if problem.gold is not None:
            field(console, "hinted prompt", visible(render(template, problem, hinted=True).text))
    if model is None:
        console.print(
            "no checkpoint in this home yet: a sampled answer and a training row are shown once the base is there",
            style="dim",
        )
        return
    answers(console, config, template, rows, model, opened)


def find_model(home: Home, checkpoint: str | None) -> Path | None:
    """The folder of the checkpoint asked for, else of the newest one."""
    from storage.lineage import find_checkpoint

    if checkpoint is not None:
        return home.checkpoints / find_checkpoint(home, checkpoint).checkpoint_id
    made = sorted(home.checkpoints.iterdir(), key=lambda folder: folder.stat().st_mtime)
    return made[-1] if made else None


def answers(
    console: "Console", config: "LoopConfig", template: str, problems: list[Problem], model: Path, home: Home
) -> None:
    """One sampled answer a problem, its verdict, and the row it would become."""
    from tasks.engines.protocol import Request, Sampling
    from tasks.processes import Processes
    from tasks.prompts.render import completion, render

    sampling = Sampling(**config.sampling.model_dump())
    with Processes(home.logs) as processes, processes.engine(config.engine, model) as engine:
        ids = [Attempt.request(p.problem_id, render(template, p).text, model.name, engine.name, sampling.canonical(), 0, config.seed)
               for p in problems]  # fmt: skip
        requests = [Request(key, render(template, p).text) for key, p in zip(ids, problems, strict=True)]
        responses = {response.request_id: response for response in engine.generate(requests, sampling)}
    heading(
        console, f"sampled from ckp_{model.name[:8]} at temperature {sampling.temperature:g}, top-p {sampling.top_p:g}"
    )
    for key, problem in zip(ids, problems, strict=True):
        response = responses[key]
        field(console, "answer", f"{visible(response.text)}  ({response.finish_reason}, {response.tokens} tokens)")
        for line in verdicts(config, problem, response.text):
            field(console, "verdict", line)
        row = completion(template, response.text)
        heading(console, "the row it would be trained on, if kept; what carries the loss is underlined")
        training_row(console, model, render(template, problem).text, row)


def verdicts(config: "LoopConfig", problem: Problem, text: str) -> list[str]:
    """What the run's verifier says of a text, a line an aspect."""
    from tasks.problems.registry import load as load_problems
    from tasks.verifiers.registry import load

    verifier = load(config.verifier or load_problems(config.problems).verifier)
    found = verifier.verify(text, problem)
    outcome = {True: "passed", False: "failed", None: "undecided"}
    return [
        f"{verifier.ref}{' ' + one.aspect if one.aspect else ''}: {outcome[one.passed]}, read {one.answer!r}"
        f"{' because ' + one.reason if one.reason else ''}"
        for one in (found if isinstance(found, list) else [found])
    ]


def training_row(console: "Console", model: Path, prompt: str, completion: str) -> None:
    """The row's tokens, those that carry loss underlined, as the trainer's preflight makes them."""
    from rich.text import Text
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    before = tokenizer.encode(prompt, add_special_tokens=False)
    after = [*tokenizer.encode(completion, add_special_tokens=False), tokenizer.eos_token_id]
    line = Text()
    for tokens, style in ((before, "dim"), (after, "underline green")):
        for token in tokens:
            line.append(visible(tokenizer.decode([token])), style=style)
            line.append(" ")
    console.print(line)
    console.print(
        f"{len(before)} tokens without loss, {len(after)} with, the end-of-text token among them", style="dim"
    )


def visible(text: str) -> str:
    """Text with its newlines and control characters visible, cut if it is very long."""
    cut = "".join(c if c.isprintable() else "⏎" if c == "\n" else json.dumps(c)[1:-1] for c in text[:CHARACTERS])
    return cut if len(text) <= CHARACTERS else f"{cut}… ({len(text):,} characters)"


def heading(console: "Console", text: str) -> None:
    console.print(text, style="bold", markup=False)


def field(console: "Console", name: str, value: str) -> None:
    from rich.text import Text

    console.print(Text.assemble((f"  {name:<14}", "dim"), value))
