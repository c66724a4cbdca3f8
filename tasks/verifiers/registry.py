"""From a ref to a verifier: `math`, `numeric:relative=0.01`, `all(math,constraints:max_words=200)`, `mypackage.checks:verify`."""

import re
from importlib import import_module
from typing import Any, cast

from storage.errors import UserMistake
from tasks.verifiers.judge import Judge, options_of
from tasks.verifiers.protocol import Verifier, Verify

VERIFIERS = {
    "choice": "tasks.verifiers.choice",
    "code": "tasks.verifiers.code",
    "constraints": "tasks.verifiers.constraints",
    "exact": "tasks.verifiers.exact",
    "instruction": "tasks.verifiers.instruction",
    "judge": "tasks.verifiers.judge",
    "math": "tasks.verifiers.math_answer",
    "numeric": "tasks.verifiers.numeric",
    "reasoning_gym": "tasks.verifiers.generator_score",
    "rouge_l": "tasks.verifiers.rouge_l",
    "sum_equations": "tasks.verifiers.sum_equations",
    "sum_steps": "tasks.verifiers.sum_steps",
    "sums": "tasks.verifiers.sums",
}
"""Verifier name to the module whose `verify(text, problem)` judges, and whose `configured(options)` makes one, if it takes options."""

MAY_HANG = frozenset({"constraints", "instruction", "math", "reasoning_gym"})
"""Those whose libraries may compute without end; they, and a user's own, are judged in worker processes."""

ASKS = "judge"
"""The one that asks a model."""

COMBINED = "tasks.verifiers.combined"
_COMBINATION = re.compile(r"(all|any|each)\((.*)\)", re.DOTALL)


def modules_of(ref: str) -> tuple[str, ...]:
    """The modules whose code decides this verifier's verdicts; UserMistake for an unknown one, naming those there are."""
    if parts := parts_of(ref):
        return (COMBINED, *dict.fromkeys(module for part in parts for module in modules_of(part)))
    name = ref.partition(":")[0]
    if name in VERIFIERS:
        return (VERIFIERS[name],)
    if "." in name or ":" in ref:
        return (name,)
    known = f"{', '.join(sorted(VERIFIERS))}, and all(…), any(…) and each(…) of them"
    raise UserMistake(f"no verifier {name!r}; this checkout has: {known}")


def judges_in(ref: str) -> list[Judge]:
    """The judges that a ref asks, itself or in its parts."""
    if parts := parts_of(ref):
        return [one for part in parts for one in judges_in(part)]
    name, _, options = ref.partition(":")
    return [options_of(options)] if name == ASKS else []


def parts_of(ref: str) -> list[str]:
    """The refs that a combination is made of; empty for any other ref. UserMistake for one that is not well formed."""
    match = _COMBINATION.fullmatch(ref.strip())
    if match is None:
        return []
    parts, depth = [""], 0
    for character in match[2]:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            break
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    refs: list[str] = []
    for part in map(str.strip, parts):
        # `numeric:relative=1,absolute=2` is one part: what is no name but an option belongs to the part before it.
        if refs and re.match(r"\w+=", part):
            refs[-1] += f",{part}"
        else:
            refs.append(part)
    if depth != 0 or "" in refs or len(refs) < 2:
        raise UserMistake(f"verifier {ref!r} is no combination; write it like all(math,constraints:max_words=200)")
    return refs


def load(ref: str) -> Verifier:
    """The verifier that `ref` names; a dotted ref is a user's own function, `verify` unless it says another."""
    if parts := parts_of(ref):
        how = ref.strip().partition("(")[0]
        inner = tuple(load(part) for part in parts)
        return Verifier(ref, COMBINED, import_module(COMBINED).of(how, inner), parts=inner, how=how)
    name, _, options = ref.partition(":")
    (module,) = modules_of(ref)
    if name in VERIFIERS:
        return Verifier(ref, module, _own(ref, module, options), may_hang=name in MAY_HANG, asks=name == ASKS)
    try:
        verify: Any = getattr(import_module(module), options or "verify")
    except (ImportError, AttributeError) as mistake:
        raise UserMistake(f"verifier {ref!r} cannot be imported ({mistake}); give package.module:function") from mistake
    if not callable(verify):
        raise UserMistake(f"verifier {ref!r} is a {type(verify).__name__}; give a function verify(text, problem)")
    return Verifier(ref, module, cast(Verify, verify), may_hang=True)


def _own(ref: str, module: str, options: str) -> Verify:
    """One of ours, with its options."""
    loaded = import_module(module)
    configured = getattr(loaded, "configured", None)
    name = ref.partition(":")[0]
    if ":" in ref and configured is None:
        raise UserMistake(f"verifier {ref!r}: {name} takes no options; write {name}")
    return (
        configured(options) if configured is not None and (options or not hasattr(loaded, "verify")) else loaded.verify
    )
