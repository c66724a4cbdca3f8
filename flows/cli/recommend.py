"""`starloop recommend`: which method, preset and model size fit a task, and why."""

import json
import sys
from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import Parameter

from storage.errors import UserMistake


def recommend(
    *,
    gold: bool | None = None,
    modality: str | None = None,
    accuracy: float | None = None,
    all_fail: Annotated[bool, Parameter(help="On many problems every sample is wrong.")] = False,
    constraints: Annotated[bool, Parameter(help="The task is to follow instructions with conditions.")] = False,
    traces: Annotated[bool, Parameter(help="Long solutions, in which one wrong step decides.")] = False,
    memory_gb: float | None = None,
    hours: float | None = None,
    model_size: Annotated[
        float | None, Parameter(help="Billions of parameters of the model that --accuracy is of.")
    ] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Name a method, a preset and a model size for a task; asks in a terminal for what no flag says.

    Parameters
    ----------
    gold
        Whether answers can be checked.
    modality
        text, image or video; text if not given.
    accuracy
        The base model's, from 0 to 1.
    memory_gb
        Of the GPU that trains.
    hours
        How long it may take in all.
    """
    from flows.advice import Situation
    from flows.advice import recommend as recommended

    if gold is None and sys.stdin.isatty() and not as_json:
        gold, modality, accuracy, all_fail, memory_gb, hours = _asked(modality, accuracy, all_fail, memory_gb, hours)
    if gold is None:
        raise UserMistake("whether answers can be checked decides the method; say --gold or --no-gold")
    situation = Situation(
        gold, modality or "text", accuracy, all_fail, constraints, traces, memory_gb, hours, model_size  # type: ignore[arg-type]
    )  # fmt: skip
    found = recommended(situation)
    if as_json:
        sys.stdout.write(f"{json.dumps(asdict(found), indent=2)}\n")
        return
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for name, value in (("method", found.title), ("model", found.model), ("preset", found.preset)):
        if value is not None:
            console.print(f"  {name:<8} {value}", markup=False)
    for reason in found.reasons:
        console.print(f"- {reason}", markup=False)
    if found.here and found.preset:
        console.print(f"starloop plan {found.method} --preset {found.preset}", style="bold", markup=False)


def _asked(
    modality: str | None, accuracy: float | None, all_fail: bool, memory_gb: float | None, hours: float | None
) -> tuple[bool, str, float | None, bool, float | None, float | None]:
    """The answers of whoever sits there; Enter is "not known"."""
    from rich.prompt import Confirm, Prompt

    gold = Confirm.ask("Can answers be checked (gold answers, tests, a program)?", default=True)
    kind = modality or Prompt.ask("What is the task about?", choices=["text", "image", "video"], default="text")
    share = (
        accuracy
        if accuracy is not None
        else _number(Prompt.ask("The base model's accuracy, 0 to 1", default="not known"))
    )
    hard = all_fail or Confirm.ask("Does every sample fail on many problems?", default=False)
    memory = (
        memory_gb if memory_gb is not None else _number(Prompt.ask("Memory of the GPU, in GB", default="not known"))
    )
    time = hours if hours is not None else _number(Prompt.ask("Hours that it may take", default="not known"))
    return gold, kind, share, hard, memory, time


def _number(said: Any) -> float | None:
    try:
        return float(said)
    except ValueError:
        return None
