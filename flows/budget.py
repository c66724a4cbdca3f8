"""How much a run may still use: one clock and one count of tokens, for all the loops that it works through.

A cell's tokens count once, whether they were generated now or when it was first made: so a limit means the same for a run in
one go and for one that was stopped and went on.
"""

import time

from flows.config import NONE, StopConfig
from storage.errors import StarloopError


class BudgetReached(StarloopError):
    """A limit that the user set was reached; what was made is kept."""


class Budget:
    """The limits of `stop`. `reached` is the sentence that ended the run, empty before."""

    def __init__(self, stop: StopConfig) -> None:
        self.reached = ""
        self.stop = stop
        self._begun = time.monotonic()
        self._tokens: dict[str, int] = {}

    @property
    def tokens(self) -> int:
        return sum(self._tokens.values())

    def spend(self, key: str, tokens: int) -> None:
        """Count what the cell with this cache key took."""
        self._tokens[key] = tokens

    def check(self) -> None:
        """Raises BudgetReached once a limit is."""
        hours = (time.monotonic() - self._begun) / 3600
        if self.stop.max_tokens != NONE and self.tokens >= self.stop.max_tokens:
            self.reached = (
                f"stopped at {self.tokens} generated tokens (the limit was {self.stop.max_tokens}); give more to go on"
            )
        elif self.stop.max_hours != NONE and hours >= self.stop.max_hours:
            self.reached = f"stopped after {hours:.2f} hours (the limit was {self.stop.max_hours}); give more to go on"
        if self.reached:
            raise BudgetReached(self.reached)
