"""What a tree search is told, and its value model: parts of `flows.method_config.RestMctsConfig`."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from flows.config import OWN
from flows.settings import Settings
from flows.training_config import TrainingConfig


class SearchConfig(Settings):
    """How a tree of partial solutions is searched; the defaults are those of the paper's code."""

    delimiter: Annotated[
        str, Field(min_length=1, description="what a step ends with; none: a step is a number of tokens")
    ] = "\n"
    step_tokens: Annotated[int, Field(ge=1, description="longest step; without a delimiter, every step")] = 64
    max_steps: Annotated[int, Field(ge=1, description="longest solution, in steps")] = 16
    branch: Annotated[int, Field(ge=1, description="steps that are drawn after a selected node")] = 3
    rollout_steps: Annotated[int, Field(ge=0, description="greedy steps from the best of them; 0: no roll-out")] = 2
    exploration: Annotated[float, Field(ge=0, description="c in V + c sqrt(2 ln N / n)")] = 0.5
    alpha: Annotated[float, Field(ge=0, le=1, description="the roll-out's share of a value")] = 0.5
    end_gate: Annotated[
        float, Field(gt=0, description="a tree ends at a selected node of this value; above 1: never")
    ] = 0.8
    rounds: Annotated[int, Field(ge=1, description="most rounds a tree")] = 50


class ValueConfig(Settings):
    """The value model: what it starts from, and how it learns. The first one learns from plain samples of the base."""

    source: Annotated[
        str,
        Field(min_length=1, description="own: the loop's base; or another causal model: a folder or a name on the hub"),
    ] = OWN
    engine: Annotated[str, Field(description="what reads values, with its options")] = "value"
    problems: Annotated[int, Field(ge=1, description="problems that the first value model learns from")] = 500
    samples: Annotated[int, Field(ge=1, description="solutions drawn of each of them")] = 8
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _trained_whole(self) -> Self:
        if self.training.method != "full" or self.training.processes != 1:
            raise ValueError(
                "a value model is trained whole by one process: value.training.method = full, processes = 1"
            )
        return self
