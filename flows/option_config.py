"""Options of the shared steps that are switched on beside any method: see docs/methods/options.md."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from flows.settings import Settings

if TYPE_CHECKING:
    from flows.config import LoopConfig


class BalanceConfig(Settings):
    """The sampling temperature, chosen anew in every iteration on a few problems (after B-STaR, Zeng et al. 2024)."""

    by: Annotated[
        Literal["none", "probe"],
        Field(description="none: sampling.temperature as it is; probe: the one of the best balance score"),
    ] = "none"
    temperatures: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, description="what is tried")
    ] = (0.5, 0.7, 0.9, 1.1)
    thresholds: Annotated[
        tuple[float, ...],
        Field(description="rewards above which an answer counts as selected; empty: every answer does"),
    ] = ()
    problems: Annotated[int, Field(ge=1, description="how many of the iteration's problems are probed")] = 50
    samples: Annotated[int, Field(ge=1, description="attempts a probed problem and temperature")] = 8
    wanted: Annotated[int, Field(ge=1, description="different right answers a problem that are enough")] = 8


class ProposeConfig(Settings):
    """New problems from the model itself, beside those of the set."""

    problems: Annotated[int, Field(ge=0, description="how many are asked for in an iteration; 0: none")] = 0
    shown: Annotated[
        int, Field(ge=1, description="problems of the iteration shown in each request, as what to make more of")
    ] = 4
    temperature: Annotated[float, Field(gt=0, description="at which proposals are drawn")] = 1.0
    max_tokens: Annotated[int, Field(ge=1, description="longest proposal, in tokens")] = 128
    gold: Annotated[
        Literal["auto", "program", "majority"],
        Field(
            description="where the gold answer is from: the problem set's own program, or what most attempts say; auto: program if there is one"
        ),
    ] = "auto"
    votes: Annotated[int, Field(ge=2, description="gold majority: attempts at a proposed problem")] = 8
    least_share: Annotated[
        float, Field(gt=0, le=1, description="gold majority: share of the votes that the answer needs")
    ] = 0.5


class RankConfig(Settings):
    """A verifier trained on right against wrong answers, which then picks among several (after V-STaR, Hosseini et al. 2024)."""

    by: Annotated[
        Literal["none", "likelihood", "ratio"],
        Field(
            description="none: no verifier is trained; likelihood: an answer's under the verifier, as in the paper; ratio: against the base's"
        ),
    ] = "none"
    samples: Annotated[int, Field(ge=2, description="attempts at every dev problem to pick from")] = 8
    problems: Annotated[int, Field(ge=1, description="how many dev problems")] = 200
    steps: Annotated[int, Field(ge=1, description="optimizer steps of the verifier's training")] = 100
    learning_rate: Annotated[float, Field(gt=0, description="of the verifier's training")] = 3e-4
    beta: Annotated[float, Field(gt=0, description="dpo_beta of the verifier's training")] = 0.1
    pairs_per_problem: Annotated[int, Field(ge=1, description="right against wrong answers of one problem")] = 10


def check_options(config: "LoopConfig") -> None:
    """Raises ValueError for options that do not go with the rest."""
    training, mix = config.training, config.mix
    if config.model.pretraining.objective != "sft":
        raise ValueError("model.pretraining.objective has to be sft: a corpus has no wrong answers to pair")
    if training.objective != "sft":
        if config.samples < 2 and config.pool == "last" and not getattr(config, "rationalize_iterations", 0):
            raise ValueError(
                f"training.objective = {training.objective} pairs right and wrong answers of a problem, and samples = 1 gives one; "
                "raise samples"
            )
        if (trained_on := getattr(config, "train_on", "correct")) != "correct":
            raise ValueError(
                f"train_on = {trained_on} is a control without a filter, which has nothing to prefer; set training.objective = sft"
            )
        if min(mix.self_share, mix.final_self_share) < 1:
            raise ValueError(
                f"training.objective = {training.objective} trains on pairs, and original data has no wrong answers; "
                "set mix.self_share and mix.final_self_share to 1"
            )
        if training.method != "full" and config.restart == "previous":
            raise ValueError(
                f"training.objective = {training.objective} with training.method = {training.method} begins at the base in every "
                "iteration; set restart = base"
            )
    if config.problem_choice == "adaptive" and config.problem_pool < config.problems_per_iteration:
        raise ValueError(
            f"problem_pool = {config.problem_pool} is less than problems_per_iteration = {config.problems_per_iteration}, "
            "which problem_choice = adaptive takes from it; raise the one or lower the other"
        )
    if config.rank.by != "none" and config.samples < 2 and not getattr(config, "rationalize_iterations", 0):
        raise ValueError(
            "rank.by trains a verifier on right and wrong answers of a problem; raise samples to 2 or more"
        )
