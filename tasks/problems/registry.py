"""From a ref to a problem set: `addition:1-5`, `jsonl:questions.jsonl,question=input`, `mypackage.sets:load`."""

from importlib import import_module

from storage.errors import UserMistake
from tasks.problems.protocol import ProblemSet

PROBLEM_SETS = {
    "addition": "tasks.problems.addition",
    "jsonl": "tasks.problems.jsonl",
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
