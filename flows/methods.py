"""Method names to their flows; loaded when asked for."""

from importlib import import_module
from typing import Any

from storage.errors import UserMistake

FLOWS = {"star": "flows.star:star"}


def flow_of(method: str) -> Any:
    """The Prefect flow of a method."""
    if method not in FLOWS:
        raise UserMistake(f"no method {method!r}; this checkout has: {', '.join(sorted(FLOWS))}")
    module, _, name = FLOWS[method].partition(":")
    return getattr(import_module(module), name)
