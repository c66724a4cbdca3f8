"""Rounds of Self-Instruct in figures: which prompts a round has, and what came of it, with the word that goes with all of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flows.method_config import SelfInstructConfig
from tasks.instructions import Draw
from tasks.pose import CORPUS
from tasks.problems.registry import load as load_problems

MOST_INSTANCES = 1_000_000


def seeds_in(config: SelfInstructConfig, split: str) -> int:
    """How many seeds a split has; of the corpus, how many instances."""
    seeds = load_problems(config.problems)
    return len(seeds.corpus(0, MOST_INSTANCES)) if split == CORPUS else seeds.size(split) or 0


def draws(config: SelfInstructConfig, number: int) -> list[Draw]:
    """The prompts of a round, a cell each."""
    human, machine = config.human_examples, config.machine_examples
    starts = range(0, config.proposals, config.cell_rows)
    return [
        Draw(number, start, min(config.cell_rows, config.proposals - start), human, machine, config.seed)
        for start in starts
    ]


def figures(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """An iteration's figures. What is counted as right of its attempts is what was admitted, and that is not correctness."""
    return {
        "attempts": sum(one["instances"] for one in rounds),
        "correct": sum(one["instances_admitted"] for one in rounds),
        "instructions": sum(one["admitted"] for one in rounds),
        "rounds": [{**one, "verbs": len(one["verbs"]), "nouns": len(one["nouns"])} for one in rounds],
    }


def refusals(facts: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """By filter, over several cells."""
    return dict(sorted(sum((Counter(one["refused"]) for one in facts), Counter[str]()).items()))


def sentence(told: Mapping[str, Any]) -> str:
    """A round in one line."""
    near = "" if told["mean_nearest"] is None else f" (mean nearest ROUGE-L {told['mean_nearest']:.2f})"
    refused = Counter(told["refused"]) + Counter(told["instances_refused"])
    why = f"; refused: {', '.join(f'{count} {name}' for name, count in refused.most_common())}" if refused else ""
    return (
        f"{told['admitted']} of {told['written']} instructions new{near}, {told['instances_admitted']} of {told['instances']} "
        f"instances admitted{why}; whether they are right is not checked"
    )
