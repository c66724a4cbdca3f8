"""Method names to their flows and to the loops inside them; loaded when asked for."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from flows.method_config import CONFIGS
from storage.errors import UserMistake

FLOWS = {
    "care_star": "flows.care_star:care_star",
    "compare": "flows.compare:compare",
    "gsr": "flows.gsr:gsr",
    "promote": "flows.promote:promote",
    "rest": "flows.rest:rest",
    "rest_em": "flows.rest_em:rest_em",
    "rest_mcts": "flows.rest_mcts:rest_mcts",
    "reverify": "flows.reverify:reverify",
    "self_instruct": "flows.self_instruct:self_instruct",
    "star": "flows.star:star",
    "zpd": "flows.zpd:zpd",
}
"""Method to its Prefect flow; compare, promote, reverify and zpd are no loops."""

LOOPS = {method: f"flows.{method}:improve" for method in CONFIGS}
"""Method to its loop, a function of an `AnyLoop`, which a flow runs and a plan rehearses."""


def flow_of(method: str) -> Any:
    """The Prefect flow of a method."""
    return _found(FLOWS, method)


def loop_of_method(method: str) -> Callable[..., None]:
    """The loop of a method."""
    return _found(LOOPS, method)


def _found(table: dict[str, str], method: str) -> Any:
    if method not in table:
        raise UserMistake(f"no method {method!r}; this checkout has: {', '.join(sorted(table))}")
    module, _, name = table[method].partition(":")
    return getattr(import_module(module), name)


assert set(LOOPS) <= set(FLOWS)
