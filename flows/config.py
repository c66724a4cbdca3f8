"""What a run is told, typed: what a preset holds, what `--set` changes, and what the Prefect UI turns into a form.

    >>> MixConfig(self_share=0.9, final_self_share=0.5, decay="linear").share_in(4)
    0.5

Beside what decides the results it holds a run's name and its limits. Where to work (home, servers, workers) stands
elsewhere. A setting that can be switched off has a word of its own for that (`all`, `none`, `own`), never null: in a
form, empty means "as the preset says".
"""

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from flows.option_config import BalanceConfig, ProposeConfig, RankConfig, check_options
from flows.settings import Count, Settings
from flows.training_config import TrainingConfig
from flows.validation import merged, validated
from storage.retention import PATTERN as KEEP

NONE = "none"
"""The word for "not at all", where a setting can be that."""
OWN = "own"
"""The word for what a problem set brings with it."""
ALL = "all"
EMBEDDED = "embedded"


class SamplingConfig(Settings):
    """How attempts are drawn. Everything is explicit: nothing of a model's own generation config applies."""

    temperature: Annotated[float, Field(ge=0, description="0 is greedy")] = 0.7
    top_p: Annotated[
        float, Field(gt=0, le=1, description="only the likeliest tokens that make up this share; 1 considers all")
    ] = 1.0
    top_k: Annotated[int, Field(ge=0, description="0 considers all tokens")] = 0
    max_tokens: Annotated[int, Field(ge=1, description="longest attempt, in tokens")] = 512
    stop: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...], Field(description="a text ends before the first of these")
    ] = ()


class ModelConfig(Settings):
    """What the loop starts from: `embedded` (a small Llama pre-trained here, on the problem set's corpus), or a model that is there."""

    source: Annotated[
        str,
        Field(
            min_length=1,
            description="embedded, a checkpoint of this home (ckp_…), a model's folder, a GGUF file (also package:<name>/<file>), "
            "or a name on the hub (name@revision)",
        ),
    ] = EMBEDDED
    seed: Annotated[int, Field(description="of the embedded model's first weights and its pre-training")] = 0
    hidden: Annotated[int, Field(ge=1, description="width of the embedded model")] = 96
    layers: Annotated[int, Field(ge=1, description="of the embedded model")] = 3
    heads: Annotated[int, Field(ge=1, description="attention heads a layer of the embedded model")] = 4
    mlp: Annotated[int, Field(ge=1, description="width inside its feed-forward layers")] = 288
    positions: Annotated[int, Field(ge=1, description="longest prompt and completion together, in characters")] = 128
    rope_theta: Annotated[float, Field(gt=0, description="base of the rotary positions' wavelengths")] = 10000.0
    initializer_range: Annotated[float, Field(gt=0, description="spread of the fresh weights")] = 0.02
    corpus_documents: Annotated[int, Field(ge=1, description="worked examples the embedded base is pre-trained on")] = (
        20_000
    )
    pretraining: TrainingConfig = TrainingConfig(steps=800)

    @model_validator(mode="after")
    def _heads_split_the_width(self) -> Self:
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"model.hidden = {self.hidden} does not split into model.heads = {self.heads} of even width"
            )
        return self


class MixConfig(Settings):
    """How self-generated examples are mixed with original data: their share goes from `self_share` to `final_self_share`."""

    self_share: Annotated[
        float, Field(gt=0, le=1, description="share of self-generated rows in the first iteration's training set")
    ] = 1.0
    final_self_share: Annotated[float, Field(gt=0, le=1, description="the same once the decay is over")] = 1.0
    decay: Annotated[
        Literal["constant", "linear", "cosine"], Field(description="how the share goes from the one to the other")
    ] = "constant"
    decay_iterations: Annotated[
        int, Field(ge=1, description="the iteration that reaches `final_self_share`; later ones stay there")
    ] = 4
    cap_per_problem: Annotated[int, Field(ge=0, description="most examples a problem; 0: no limit")] = 0
    dedupe: Annotated[
        Literal["exact", "equations"],
        Field(description="exact: the same text once; equations: one text for each list of equations of a problem"),
    ] = "exact"
    select: Annotated[
        Literal["all", "top1"],
        Field(description="all that passed, or of each problem the one that its verifier scores highest"),
    ] = "all"

    pairs_per_problem: Annotated[
        int,
        Field(
            ge=0, description="training.objective dpo: most pairs a problem, which no other filter here touches; 0: all"
        ),
    ] = 10

    def share_in(self, iteration: int) -> float:
        """The wanted self-generated share of an iteration, counted from 1."""
        from math import cos, pi

        if self.decay == "constant":
            return self.self_share
        way = min(1.0, (iteration - 1) / max(1, self.decay_iterations - 1))
        way = (1 - cos(pi * way)) / 2 if self.decay == "cosine" else way
        return self.self_share + (self.final_self_share - self.self_share) * way


class EvaluationConfig(Settings):
    """What is held out. Dev is looked at every iteration; test for the base and the final checkpoint only."""

    dev_problems: Annotated[int, Field(ge=1, description="how many are answered in every iteration")] = 500
    test_problems: Annotated[int, Field(ge=1, description="how many the base and the final model answer")] = 1000
    max_tokens: Annotated[int, Field(ge=1, description="longest greedy answer, in tokens")] = 512
    also: Annotated[
        str,
        Field(
            min_length=1,
            description="another problem set that must not get worse: base and final are scored on its dev",
        ),
    ] = NONE
    also_problems: Annotated[int, Field(ge=1, description="how many of that set")] = 200


class StopConfig(Settings):
    """When to stop early; what was made is kept, and the same command with more goes on from there."""

    plateau_iterations: Annotated[
        int,
        Field(
            ge=0,
            description="stop when dev accuracy stayed inside the interval of so many earlier iterations; 0: never",
        ),
    ] = 0
    max_tokens: Annotated[
        Count | Literal["none"], Field(description="stop before a step once so many tokens were generated")
    ] = NONE
    max_hours: Annotated[
        Annotated[float, Field(gt=0)] | Literal["none"],
        Field(description="stop before a step once so many hours have passed"),
    ] = NONE
    iteration_tokens: Annotated[
        Count | Literal["none"],
        Field(
            description="finish, with the last test, once the iterations generated so many tokens; base, dev and test do not count, and "
            "the last iteration asks fewer problems to end there"
        ),
    ] = NONE


Limit = Annotated[float, Field(ge=0)]
Action = Literal["off", "warn", "stop", "back"]
Then = Annotated[
    Action, Field(description="above the limit: off, warn, stop (finish here) or back (to the last good checkpoint)")
]


class HealthConfig(Settings):
    """When a loop is no longer well, and what then."""

    pass_at_k_drop: Annotated[
        Limit, Field(description="pass@K below that of iteration 1: it sharpens what it had and loses the rest")
    ] = 0.05
    on_pass_at_k_drop: Then = "warn"
    length_drift: Annotated[Limit, Field(description="mean length away from that of iteration 1, as a share of it")] = (
        0.5
    )
    on_length_drift: Then = "warn"
    undecided_share: Annotated[Limit, Field(description="attempts that the verifier could not judge")] = 0.1
    on_undecided_share: Then = "warn"
    lost_share: Annotated[Limit, Field(description="dev problems the model before solved, and this one does not")] = 0.2
    on_lost_share: Then = "warn"
    false_positive_share: Annotated[
        Limit, Field(description="attempts that passed and that the audit verifier fails; needs audit")
    ] = 0.25
    on_false_positive_share: Then = "warn"
    gap: Annotated[
        Limit,
        Field(description="train accuracy above dev accuracy of the same model, beyond what it was in iteration 1"),
    ] = 0.15
    on_gap: Then = "warn"


class Arm(Settings):
    """One variation of a run: the settings that differ, by dotted name."""

    name: str
    set: dict[str, Any] = Field(default_factory=dict)


class LoopConfig(Settings):
    """What every method's loop is told."""

    name: Annotated[str | None, Field(description="shown in lists; changes no result")] = None
    model_name: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9_ .-]+$", description="what checkpoints are registered as in MLflow; changes no result"
        ),
    ] = None
    problems: Annotated[str, Field(description="a problem set, e.g. addition:1-5")] = "addition:1-5"
    problems_per_iteration: Annotated[int, Field(ge=1, description="how many are asked in each iteration")] = 1000
    fresh_problems: Annotated[bool, Field(description="new problems each iteration, or the same ones again")] = True
    iterations: Annotated[int, Field(ge=1, le=1000, description="how often the loop goes round")] = 4
    samples: Annotated[int, Field(ge=1, description="attempts a problem")] = 1
    sampling: SamplingConfig = SamplingConfig()
    engine: Annotated[str, Field(description="what generates text, with its options")] = "transformers"
    template: Annotated[str, Field(min_length=1, description="prompt templates; own: the problem set's")] = OWN
    chat: Annotated[
        Literal["auto", "on", "off"],
        Field(description="prompts as a user's turn in the model's chat template; auto: where its tokenizer has one"),
    ] = "auto"
    zpd: Annotated[
        Literal["stop", "warn", "off"],
        Field(description="what to do with a base that is clearly outside the zone in which self-training helps"),
    ] = "stop"
    verifier: Annotated[str, Field(min_length=1, description="what judges an attempt; own: the problem set's")] = OWN
    audit: Annotated[
        str, Field(min_length=1, description="a second verifier that only measures, e.g. sum_steps; or none")
    ] = NONE
    model: ModelConfig = ModelConfig()
    mix: MixConfig = MixConfig()
    training: TrainingConfig = TrainingConfig()
    restart: Annotated[Literal["base", "previous"], Field(description="which weights each iteration trains from")] = (
        "base"
    )
    problem_choice: Annotated[
        Literal["next", "adaptive"],
        Field(
            description="which problems an iteration samples: the next ones, or of a fixed pool those longest not visited and least "
            "often solved (AdaSTaR)"
        ),
    ] = "next"
    problem_pool: Annotated[
        int, Field(ge=1, description="problem_choice adaptive: how many problems it chooses from")
    ] = 5000
    balance: BalanceConfig = BalanceConfig()
    propose: ProposeConfig = ProposeConfig()
    rank: RankConfig = RankConfig()
    pool: Annotated[
        Literal["last", "all"], Field(description="train on this iteration's examples, or on all so far")
    ] = "last"
    final: Annotated[
        Literal["last", "best"],
        Field(description="the model that is tested and handed over: the last one, or the one that did best on dev"),
    ] = "last"
    evaluation: EvaluationConfig = EvaluationConfig()
    stop: StopConfig = StopConfig()
    keep: Annotated[
        str,
        Field(
            pattern=f"^({KEEP})$",
            description="which checkpoints `starloop gc` leaves their weights: all, best, promoted, or last 2; changes no result",
        ),
    ] = "all"
    health: HealthConfig = HealthConfig()
    seed: Annotated[int, Field(ge=0, description="seeds sampling, mixing and training; the base has its own")] = 0
    cell_rows: Annotated[int, Field(ge=1, description="problems a cell: what one cached task works on")] = 500
    arms: Annotated[
        tuple[Arm, ...], Field(description="variations that run one after another; empty: just this one")
    ] = ()

    @property
    def learns_from_what_passed(self) -> bool:
        """Whether what it trains is meant to be used, and no control."""
        return True

    @property
    def correctness(self) -> str:
        """What is said with everything a run makes, where nobody checks that it is right; empty for a method that checks."""
        return ""

    @property
    def further_verifiers(self) -> tuple[str, ...]:
        """Verifiers that decide its results beside `verifier`."""
        return ()

    @property
    def further_templates(self) -> tuple[str, ...]:
        """Prompt templates that decide its results beside `template`."""
        return ()

    def kept_by(self, verifier: str) -> str:
        """What judges the samples that may be trained on, where `verifier` judges the answers on dev and test."""
        return verifier

    def check_problems(self) -> None:
        """Raises UserMistake for a problem set that the method cannot use."""

    def measured_by(self, verifier: str) -> str | None:
        """What judges the same samples without deciding anything; None for nothing."""
        del verifier
        return None if self.audit == NONE else self.audit

    @model_validator(mode="after")
    def _every_arm_trains_in_every_iteration(self) -> Self:
        self.training.check_steps(self.iterations)
        check_options(self)
        self.expanded()
        return self

    def expanded(self) -> list[Self]:
        """The arms as configurations of their own, named after them; without arms, this one."""
        if not self.arms:
            return [self]
        whole = self.model_dump(exclude={"arms"})
        return [
            validated(type(self), merged(whole, arm.set) | {"name": arm.name}, f"arm {arm.name!r}") for arm in self.arms
        ]


Config = TypeVar("Config", bound=LoopConfig)
