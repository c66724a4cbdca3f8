"""`starloop recommend`: which method, preset and model size fit a task, and why."""

import json
import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, cast

from cyclopts import Parameter

from storage.errors import UserMistake

if TYPE_CHECKING:
    from flows.advice import Situation


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

    situation = Situation(
        bool(gold), cast(Any, modality or "text"), accuracy, all_fail, constraints, traces, memory_gb, hours, model_size
    )  # fmt: skip
    if gold is None:
        if as_json or not sys.stdin.isatty():
            raise UserMistake("whether answers can be checked decides the method; say --gold or --no-gold")
        situation = asked(situation)
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


def asked(known: "Situation") -> "Situation":
    """The situation with what whoever sits there answers; Enter is "not known"."""
    from rich.prompt import Confirm, Prompt

    gold = Confirm.ask("Can answers be checked (gold answers, tests, a program)?", default=True)
    modality = Prompt.ask("What is the task about?", choices=["text", "image", "video"], default=known.modality)
    all_fail = known.all_fail or Confirm.ask("Does every sample fail on many problems?", default=False)
    numbers: dict[str, float | None] = {}
    for name, question in (
        ("accuracy", "The base model's accuracy, 0 to 1"),
        ("memory_gb", "Memory of the GPU, in GB"),
        ("hours", "Hours that it may take"),
    ):
        told: float | None = getattr(known, name)
        numbers[name] = told if told is not None else _number(Prompt.ask(question, default="not known"))
    return replace(known, gold=gold, modality=cast(Any, modality), all_fail=all_fail, **cast(Any, numbers))


def _number(said: Any) -> float | None:
    """What was typed as a number; None for anything else."""
    try:
        return float(said)
    except ValueError:
        return None
