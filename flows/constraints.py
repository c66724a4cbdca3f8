"""Which constraints decide what CARE-STaR keeps: those of some verifiers, up to a level; the harder ones are measured beside.

required(("numeric", "instruction"), 3)   →  each(numeric,instruction:levels=1-3)
measured(("numeric", "instruction"), 3)   →  instruction:levels=4-4
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flows.config import EMBEDDED, OWN
from storage.errors import UserMistake
from storage.records import Problem
from tasks.problems.registry import load as load_problems
from tasks.verifiers.constraint_levels import LEVELS, level_of
from tasks.verifiers.instruction import constraints_of
from tasks.verifiers.registry import parts_of

if TYPE_CHECKING:
    from flows.method_config import CareStarConfig

HARDEST = max(LEVELS)
GRADED = {"instruction": range(1, HARDEST + 1), "sum_equations": (1, 2, 4)}
"""Verifiers that judge constraints of several levels, and can be asked for some of them."""
ENOUGH_PROBLEMS = 50
"""Problems of a set that are looked at for constraints before anything runs."""


def required(refs: Sequence[str], hardest: int) -> str:
    """The verifier whose every aspect has to pass. Raises UserMistake where nothing is that easy to tell."""
    kept = [part for ref in refs for part in _within(ref, 1, hardest)]
    if not kept:
        raise UserMistake(
            f"levels = {hardest} leaves no constraint of {', '.join(refs)} to decide what is kept; raise levels"
        )
    return joined(kept)


def measured(refs: Sequence[str], hardest: int) -> str | None:
    """The verifier of what is harder to tell; None where nothing is."""
    harder = [part for ref in refs for part in _within(ref, hardest + 1, HARDEST)]
    return joined(harder) if harder else None


def joined(refs: Sequence[str]) -> str:
    """One verifier for several, what each of them says apart."""
    parts = list(dict.fromkeys(part for ref in refs for part in flattened(ref)))
    return parts[0] if len(parts) == 1 else f"each({','.join(parts)})"


def flattened(ref: str) -> list[str]:
    """The verifiers in `each(…)` one by one; any other by itself."""
    return [inner for part in parts_of(ref) for inner in flattened(part)] if ref.startswith("each(") else [ref]


def _within(ref: str, easiest: int, hardest: int) -> list[str]:
    found: list[str] = []
    for part in flattened(ref):
        if part not in GRADED:
            found += [part] if easiest <= level_of(part) <= hardest else []
        elif easiest == 1 and hardest >= HARDEST:
            found.append(part)
        elif any(easiest <= level <= hardest for level in GRADED[part]):
            found.append(f"{part}:levels={easiest}-{hardest}")
    return found


def check_care_star(config: "CareStarConfig") -> None:
    """Raises UserMistake unless there is something beside the answer for a sample to be held to, and a way to ask about it."""
    own = load_problems(config.problems).verifier if config.verifier == OWN else config.verifier
    if config.held_to == "constraints":
        check_constraints(config.problems, config.demanded(own))
        if config.balance.thresholds:
            raise UserMistake(
                f"balance.thresholds = {list(config.balance.thresholds)} would keep what meets some constraints, and care_star keeps "
                "what meets all; leave balance.thresholds empty"
            )
    if config.self_check == "on" and config.model.source == EMBEDDED and not config.engine.startswith("scripted"):
        raise UserMistake(
            "the embedded model writes what its corpus taught it and cannot be asked whether a text meets a constraint; "
            "set self_check=off, or start from another model with model.source"
        )


def check_constraints(problems: str, refs: Sequence[str]) -> None:
    """Raises UserMistake unless these verifiers look at something beside the answer."""
    names = {part.partition(":")[0] for ref in refs for part in flattened(ref)}
    if names & {"constraints", "sum_equations", "sum_steps"} or len(names - {"instruction"}) > 1:
        return
    if "instruction" in names and any(map(_demands, load_problems(problems).take("train", 0, ENOUGH_PROBLEMS))):
        return
    what = "has no constraints in its instructions" if "instruction" in names else "is judged by its answer alone"
    raise UserMistake(
        f"care_star needs constraints, and {problems} {what} (verifier {joined(refs)}); name a set that has some, such as "
        'constrained, or a verifier of what a response has to meet: constraints=["own", "instruction"] reads the instruction, '
        '["own", "sum_equations"] holds the steps of a sum against each other, ["own", "constraints:max_words=60"] is one for every problem'
    )


def _demands(problem: Problem) -> bool:
    try:
        return bool(constraints_of(problem))
    except ValueError:
        return True
