"""From a ref to a problem set: `gsm8k`, `addition:1-5`, `jsonl:questions.jsonl,question=input`, `mypackage.sets:load`."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from storage.errors import UserMistake
from tasks.problems.protocol import ProblemSet

PROBLEM_SETS = {
    "addition": "tasks.problems.addition",
    "arc": "tasks.problems.arc",
    "commonsense_qa": "tasks.problems.commonsense_qa",
    "constrained": "tasks.problems.constrained",
    "gsm8k": "tasks.problems.gsm8k",
    "hub": "tasks.problems.hub",
    "jsonl": "tasks.problems.jsonl",
    "math500": "tasks.problems.math500",
    "parquet": "tasks.problems.parquet",
    "reasoning_gym": "tasks.problems.generated",
    "seed_tasks": "tasks.problems.seed_tasks",
    "sums": "tasks.problems.sums",
}
"""Problem set name to the module whose `load(options)` makes it."""


def module_of(ref: str) -> str:
    """The dotted name of the module behind a ref; UserMistake for an unknown one, naming those there are."""
    name = ref.partition(":")[0]
    if name in PROBLEM_SETS:
        return PROBLEM_SETS[name]
    if "." in name:
        return name
    raise UserMistake(f"no problem set {name!r}; this checkout has: {', '.join(sorted(PROBLEM_SETS))}")


def load(ref: str) -> ProblemSet:
    """The problem set that `ref` names.

    A dotted ref (`mypackage.sets:load`) is a user's own: the named function is called without arguments and returns a
    ProblemSet.
    """
    name, _, options = ref.partition(":")
    module = module_of(ref)
    if name in PROBLEM_SETS:
        return import_module(module).load(options)
    try:
        return getattr(import_module(module), options or "load")()
    except (ImportError, AttributeError) as mistake:
        raise UserMistake(
            f"problem set {ref!r} cannot be imported ({mistake}); give package.module:function"
        ) from mistake


def files(ref: str) -> Sequence[Path]:
    """The files that a set says it is read from, beside those its options name; none for most."""
    name, _, options = ref.partition(":")
    if name not in PROBLEM_SETS:
        return ()
    found = getattr(import_module(PROBLEM_SETS[name]), "files", None)
    return () if found is None else found(options)
