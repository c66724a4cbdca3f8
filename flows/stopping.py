"""When a loop has nothing more to gain."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any


def on_plateau(curve: Sequence[dict[str, Any]], iterations: int) -> bool:
    """True when each of the last `iterations` accuracies lies inside the interval of the one before it."""
    if not iterations or len(curve) <= iterations:
        return False
    recent = curve[-iterations - 1 :]
    return all(
        after["held_out_accuracy"] is not None
        and before["held_out_accuracy"] is not None
        and before["ci_low"] <= after["held_out_accuracy"] <= before["ci_high"]
        for before, after in pairwise(recent)
    )
