"""`starloop preview`: exactly what a run would send to the model and train on, before it does."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flows.cli.answer import shown
from flows.cli.settings import Assignments, Preset, parse
from storage.home import Home
from storage.records import Attempt, Problem

if TYPE_CHECKING:
    from rich.console import Console

    from flows.config import LoopConfig
    from flows.method_config import GsrConfig
    from flows.refs import Refs
    from tasks.prompts.chat import Chat
    from tasks.training.rows import TokenRow

CHARACTERS = 4000
"""Longest text shown."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The checkpoint that answers, and which one it is in words."""

    checkpoint_id: str
    which: str


def preview(
    method: str,
    /,
    *,
    preset: Preset = None,
    set: Assignments = None,
    problems: Annotated[int, Parameter(help="How many training problems to show.")] = 1,
    checkpoint: str | None = None,
    home: Path | None = None,
) -> None:
    """Show a prompt with its special tokens, its hinted twin, a sampled answer with its verdict, and a training row with its mask.

    Parameters
    ----------
    method
        star
    checkpoint
        The model that answers (ckp_…); without it, the last checkpoint of this run, else the newest of the home.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console

    from flows.cli.preview_writing import show_writing
    from flows.method_config import GsrConfig, SelfInstructConfig
    from flows.refs import check, refs_of, settled
    from flows.resolving import resolve
    from tasks.problems.registry import load
    from tasks.prompts.chat import prompt_of

    opened = Home.at(home)
    config = resolve(method, preset, parse(set or [])).expanded()[0]
    check(config)
    if opened.events.is_dir():
        config = settled(config, opened)
    refs = refs_of(config)
    model = chosen(opened, method, config, checkpoint)
    chat = chat_for(config, opened, model)
    console = Console(highlight=False, soft_wrap=True)
    if isinstance(config, SelfInstructConfig):
        show_writing(config, refs.template, chat, problems, lambda name, text: field(console, name, visible(text)))
        return
    rows = load(config.problems).take("train", 0, problems)
    for problem in rows:
        heading(console, f"problem {shown(problem.question)}  gold {shown(problem.gold)}  {problem.stratum}")
        field(console, "prompt", visible(prompt_of(refs.template, problem, chat=chat).text))
        if problem.gold is not None:
            field(console, "hinted prompt", visible(prompt_of(refs.template, problem, True, chat).text))
        if isinstance(config, GsrConfig):
            field(console, "refinement", visible(refinement_shown(config, refs.template, problem, chat)))
    if model is None:
        console.print(
            "no checkpoint in this home yet: a sampled answer and a training row are shown once the base is there",
            style="dim",
        )
        return
    answers(console, config, refs, rows, model, chat, opened)


def refinement_shown(config: "GsrConfig", template: str, problem: Problem, chat: "Chat | None") -> str:
    """The prompt for a refinement, as if each candidate were the bare gold answer (or, without one, three dots)."""
    from tasks.prompts.chat import in_chat
    from tasks.prompts.render import completion, render_refinement

    candidate = "…" if problem.gold is None else completion(template, problem, rationale=False)
    critique = "" if config.critique == "none" else "…"
    return in_chat(chat, render_refinement(template, problem, [candidate] * config.samples, critique)).text


def chat_for(config: "LoopConfig", home: Home, model: Chosen | None) -> "Chat | None":
    """The chat that the model's prompts stand in; before there is a checkpoint, that of the folder which it will be made from."""
    from tasks.prompts.chat import chat_of

    folder = home.checkpoints / model.checkpoint_id if model else Path(config.model.source)
    return chat_of(folder) if config.chat != "off" and folder.is_dir() else None


def chosen(home: Home, method: str, config: "LoopConfig", checkpoint: str | None) -> Chosen | None:
    """The checkpoint asked for, else the last one of the run that these settings are, else the newest of the home."""
    from flows.refs import code_behind, run_identity
    from storage.lineage import Lineage, find_checkpoint

    if checkpoint is not None:
        return Chosen(find_checkpoint(Home.existing(home.root), checkpoint).checkpoint_id, "as asked for")
    if not home.checkpoints.is_dir():
        return None
    run_id = run_identity(method, config, code_behind(config))
    with Lineage.open(home, fresh=True) as lineage:
        made = [one.checkpoint_id for one in lineage.iterations(run_id) if one.checkpoint_id]
    if made:
        return Chosen(made[-1], "the last of this run")
    folders = [folder for folder in home.checkpoints.iterdir() if folder.is_dir()]
    newest = max(folders, key=lambda folder: folder.stat().st_mtime, default=None)
    return newest and Chosen(newest.name, "the newest in this home; this run has none yet")


def answers(
    console: "Console", config: "LoopConfig", refs: "Refs", problems: list[Problem], model: Chosen, chat: "Chat | None",
    home: Home,
) -> None:  # fmt: skip
    """One sampled answer a problem, its verdict, and the row it would become."""
    from tasks.engines.protocol import Sampling
    from tasks.engines.registry import takes_messages
    from tasks.generation import Asked, Model, attempt_of, requests_of
    from tasks.processes import Processes
    from tasks.prompts.chat import prompt_of
    from tasks.prompts.render import completion

    bare = None if takes_messages(config.engine) else chat
    sampling = Sampling(**config.sampling.model_dump())
    asked = [Asked(problem, prompt_of(refs.template, problem, chat=bare), 0) for problem in problems]
    folder = home.checkpoints / model.checkpoint_id
    with Processes(home.logs) as processes, processes.engine(config.engine, folder) as engine:
        writer = Model(config.engine, model.checkpoint_id, engine.weights_digest)
        requests = requests_of(asked, writer, engine.name, sampling, config.seed)
        responses = {response.request_id: response for response in engine.generate(requests, sampling)}
    heading(
        console,
        f"sampled from ckp_{model.checkpoint_id[:8]} ({model.which}) at temperature {sampling.temperature:g}, "
        f"top-p {sampling.top_p:g}",
    )
    for one, request in zip(asked, requests, strict=True):
        response = responses[request.request_id]
        attempt = attempt_of(one, response, writer, engine.name, sampling, config.seed)
        ended = response.error or f"{response.tokens} tokens"
        field(console, "answer", f"{visible(attempt.text)}  ({attempt.finish_reason}, {visible(ended)})")
        for line in verdicts(refs.kept_by, one.problem, attempt):
            field(console, "verdict", line)
        heading(console, "the row it would be trained on, if kept; what carries the loss is underlined")
        prompt = prompt_of(refs.template, one.problem, chat=chat).text
        training_row(console, config, folder, prompt, completion(refs.template, attempt.text), chat)


def verdicts(verifier: str, problem: Problem, attempt: Attempt) -> list[str]:
    """What the run's verifier says of an attempt, a line an aspect."""
    from flows.cli.audit_verifier import means
    from tasks.judgements import judgements
    from tasks.verifiers.registry import load

    with means(verifier) as (working, _):
        ((_, judged),) = judgements(load(verifier), [(attempt, problem)], working)
    outcome = {True: "passed", False: "failed", None: "undecided"}
    return [
        f"{verifier}{' ' + visible(one.aspect) if one.aspect else ''}: {outcome[one.passed]}, read {shown(one.answer)}"
        f"{' because ' + visible(one.reason) if one.reason else ''}"
        for one in judged
    ]


def training_row(
    console: "Console", config: "LoopConfig", model: Path, prompt: str, completion: str, chat: "Chat | None"
) -> None:
    """The row's tokens, those that carry loss underlined, as the trainer's preflight makes them; or why it would be refused."""
    from rich.text import Text
    from transformers import AutoTokenizer

    from storage.errors import TrainingFault
    from storage.records import Example
    from tasks.engines.folders import base_of
    from tasks.training.preflight import tokenise
    from tasks.training.rows import Row

    tokenizer: Any = AutoTokenizer.from_pretrained(base_of(model))
    row = Row(0, Example.of(prompt, completion).example_id, prompt, completion)
    try:
        recipe = config.training.recipe(config.training.steps_in(1))
        tokens: TokenRow = tokenise([row], tokenizer, recipe, chat and chat.template)[0]
    except TrainingFault as fault:
        console.print(f"refused: {visible(str(fault))}", style="red", markup=False)
        return
    line = Text()
    for token, label in zip(tokens.input_ids, tokens.labels, strict=True):
        line.append(visible(tokenizer.decode([token])), style="dim" if label == -100 else "underline green")
        line.append(" ")
    console.print(line)
    console.print(
        f"{tokens.prompt_tokens} tokens without loss, {len(tokens.input_ids) - tokens.prompt_tokens} with, "
        "the end-of-text token among them",
        style="dim",
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
