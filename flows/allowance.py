"""How many tokens the iterations of a loop may generate, where methods are compared at equal cost.

What counts is everything that is generated while an iteration is made: samples, hinted retries, refinements, searches. The base and its
zone check, dev, test and what else is only measured do not count, and neither do prompts. What is found cached counts as if it were generated now.
"""

from flows.config import NONE, LoopConfig
from flows.held_out import Answered

LEAST = 0.1
"""With less left than this share of a whole iteration there is no further one."""


class Allowance:
    """Of one loop. `spent` is what its iterations have generated."""

    def __init__(self, config: LoopConfig, dev: Answered) -> None:
        """What the first iteration will take a problem is taken from the answers to dev."""
        self.spent = 0
        self.limit = None if config.stop.iteration_tokens == NONE else int(config.stop.iteration_tokens)
        self._whole = config.problems_per_iteration
        answers = sum(part.rows for part in dev.parts)
        tokens = sum(int(str(record.output.facts.get("tokens", 0))) for record in dev.attempts)
        self._a_problem = config.samples * tokens / answers if answers else 0.0

    def problems(self) -> int:
        """How many problems the next iteration may ask; 0 where too little is left for another."""
        if self.limit is None:
            return self._whole
        if not self._a_problem:  # nothing was counted, in a plan or by an engine that does not tell
            return 0 if self.spent >= self.limit else self._whole
        affordable = round((self.limit - self.spent) / self._a_problem)
        return 0 if affordable < max(1, LEAST * self._whole) else min(self._whole, affordable)

    def spend(self, tokens: int, problems: int) -> None:
        """An iteration over so many problems generated so many tokens."""
        self.spent += tokens
        if tokens and problems:
            self._a_problem = tokens / problems
