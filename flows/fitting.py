"""Whether options fit the problem set and the engine that they are to work with: found out before anything runs."""

from flows.config import EMBEDDED, LoopConfig
from storage.errors import UserMistake
from tasks.engines.registry import says_likelihoods
from tasks.problems.protocol import Proposable
from tasks.problems.registry import load as load_problems


def check_fits(config: LoopConfig) -> None:
    """Raises UserMistake where a set's problems cannot be proposed: before anything runs."""
    if not config.propose.problems:
        return
    if config.model.source == EMBEDDED:
        raise UserMistake(
            "the embedded model has learned to answer and never saw a request for a problem; set propose.problems = 0, or "
            "start from a model that follows instructions"
        )
    problem_set = load_problems(config.problems)
    if isinstance(problem_set, Proposable):
        return
    if config.propose.gold == "program":
        raise UserMistake(
            f"{config.problems} has no program that answers a new question; set propose.gold = majority (sets that have "
            "one: addition, sums)"
        )
    first = problem_set.take("train", 0, 1)
    if first and (first[0].info != "{}" or first[0].gold is None):
        raise UserMistake(
            f"problems of {config.problems} are more than a question and an answer (choices, tests, a generator's item), which "
            "no proposal can bring; set propose.problems = 0"
        )


def check_ranks(config: LoopConfig) -> None:
    """Raises UserMistake where the engine cannot say how likely an answer is: before anything runs."""
    if config.rank.by != "none" and not says_likelihoods(config.engine):
        raise UserMistake(
            f"rank.by = {config.rank.by} asks how likely answers are, and the engine {config.engine.partition(':')[0]} does "
            "not say; use transformers, or set rank.by = none"
        )
