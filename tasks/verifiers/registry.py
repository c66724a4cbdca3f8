"""From a ref to a verifier: `sums`, `exact`, or a user's own `mypackage.checks:verify`."""

from importlib import import_module
from typing import Any, cast

from storage.errors import UserMistake
from tasks.verifiers.protocol import Verifier, Verify

VERIFIERS = {
    "code": "tasks.verifiers.code",
    "exact": "tasks.verifiers.exact",
    "reasoning_gym": "tasks.verifiers.generator_score",
    "sum_steps": "tasks.verifiers.sum_steps",
    "sums": "tasks.verifiers.sums",
}
"""Verifier name to the module whose `verify(text, problem)` judges."""


def module_of(ref: str) -> str:
    """The dotted name of the module behind a ref; UserMistake for an unknown one, naming those there are."""
    name = ref.partition(":")[0]
    if name in VERIFIERS:
        if ":" in ref:
            raise UserMistake(f"verifier {ref!r}: {name} takes no options; write {name}")
        return VERIFIERS[name]
    if "." in name or ":" in ref:
        return name
    raise UserMistake(f"no verifier {name!r}; this checkout has: {', '.join(sorted(VERIFIERS))}")


def load(ref: str) -> Verifier:
    """The verifier that `ref` names; a dotted ref is a user's own function, `verify` unless it says another."""
    function = ref.partition(":")[2]
    module = module_of(ref)
    try:
        verify: Any = getattr(import_module(module), function or "verify")
    except (ImportError, AttributeError) as mistake:
        raise UserMistake(f"verifier {ref!r} cannot be imported ({mistake}); give package.module:function") from mistake
    if not callable(verify):
        raise UserMistake(f"verifier {ref!r} is a {type(verify).__name__}; give a function verify(text, problem)")
    return Verifier(ref, module, cast(Verify, verify))
