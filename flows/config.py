"""What a run is told, typed: what a preset holds, what `--set` changes, and what the Prefect UI turns into a form.

    >>> MixConfig(self_share=0.9, final_self_share=0.5, decay="linear").share_in(4)
    0.5

Beside what decides the results it holds a run's name and its limits. Where to work (home, servers, workers) stands
elsewhere. A setting that can be switched off has a word of its own for that (`all`, `none`, `own`), never null: in a
form, empty means "as the preset says".
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from flows.option_config import BalanceConfig, ProposeConfig, RankConfig, check_options
from flows.settings import Count, Settings
from flows.validation import merged, validated
from storage.retention import PATTERN as KEEP

if TYPE_CHECKING:
    from tasks.training.recipe import Recipe

Beta = Annotated[float, Field(ge=0, lt=1)]
NONE = "none"
"""The word for "not at all", where a setting can be that."""
MOST_STEPS = 10_000_000
"""More optimizer steps than this in one iteration are a mistake in a schedule."""
OWN = "own"
"""The word for what a problem set brings with it."""
ALL = "all"
EMBEDDED = "embedded"


class SamplingConfig(Settings):
    """How attempts are drawn. Everything is explicit: nothing of a model's own generation config applies."""

    temperature: Annotated[float, Field(ge=0, description="0 is greedy")] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0, description="0 considers all tokens")] = 0
    max_tokens: Annotated[int, Field(ge=1, description="longest attempt, in tokens")] = 512
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()


class TrainingConfig(Settings):
    """How one iteration trains. `steps` is the first iteration's number; `growth` says how it goes on."""

    steps: Annotated[int, Field(ge=1, description="optimizer steps of the first iteration")] = 100
    step_schedule: Literal["constant", "linear", "exponential"] = "constant"
    step_growth: Annotated[
        float, Field(ge=0, description="linear: steps added each iteration; exponential: the factor, e.g. 1.2")
    ] = 0
    batch_size: Count = 64
    grad_accumulation: Count = 1
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 20
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    betas: Annotated[tuple[Beta, Beta], Field(description="AdamW's two decay rates")] = (0.9, 0.999)
    max_length: Annotated[int, Field(ge=1, description="longest row in tokens; a longer one is refused, not cut")] = 512
    method: Annotated[
        Literal["full", "lora", "qlora"],
        Field(description="all weights, an adapter, or an adapter on a base in 4 bits"),
    ] = "full"
    lora_rank: Count = 16
    lora_alpha: Count = 32
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Field(description="of the arithmetic; auto: bfloat16 where the GPU has it, else float32"),
    ] = "float32"
    gradient_checkpointing: Annotated[bool, Field(description="less memory for a third more time")] = False
    group_by_length: Annotated[bool, Field(description="rows of like length in a batch, so that less is padded")] = (
        False
    )
    processes: Annotated[
        int, Field(ge=1, description="processes that train together, one a GPU; a step sees so many times the rows")
    ] = 1
    save_steps: Annotated[
        int, Field(ge=0, description="keep something to resume from every so many steps; 0: never")
    ] = 0
    objective: Annotated[
        Literal["sft", "dpo", "dpo_nll"],
        Field(
            description="sft: make what was kept likelier; dpo: right answers likelier than wrong ones; dpo_nll: both (Iterative RPO)"
        ),
    ] = "sft"
    dpo_beta: Annotated[float, Field(gt=0, description="dpo: how hard it holds to the weights it starts from")] = 0.1
    nll_weight: Annotated[float, Field(gt=0, description="dpo_nll: weight of the right answer's own likelihood")] = 1.0

    def check_steps(self, iterations: int) -> None:
        """Raises ValueError unless every iteration has a step to train, and a number of them that can be trained."""
        for iteration in range(1, iterations + 1):
            try:
                steps = self.steps_in(iteration)
            except OverflowError:
                steps = MOST_STEPS + 1
            if not 1 <= steps <= MOST_STEPS:
                found = f"{steps}" if steps < 1 else f"over {MOST_STEPS:,}"
                raise ValueError(
                    f"training.step_growth = {self.step_growth:g} with step_schedule = {self.step_schedule} gives iteration "
                    f"{iteration} {found} steps; exponential multiplies by it (1.2), linear adds it (20)"
                )

    def steps_in(self, iteration: int) -> int:
        """Optimizer steps of an iteration, counted from 1 (STaR's released code: int(40 * 1.2^(i-1)), or start + 20 (i-1))."""
        match self.step_schedule:
            case "constant":
                return self.steps
            case "linear":
                return round(self.steps + self.step_growth * (iteration - 1))
            case "exponential":
                return int(self.steps * self.step_growth ** (iteration - 1))

    def recipe(self, steps: int) -> "Recipe":
        """What the trainer is told, for so many steps."""
        from tasks.training.recipe import Recipe

        settings = self.model_dump(exclude={"steps", "step_schedule", "step_growth"})
        return Recipe.of({**settings, "steps": steps, "dtype": self.arithmetic})

    @property
    def arithmetic(self) -> str:
        """The dtype, with `auto` as this machine has it: a recipe names what it was."""
        from flows.machine import has_bfloat16

        return self.dtype if self.dtype != "auto" else "bfloat16" if has_bfloat16() else "float32"


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
    seed: int = 0
    hidden: Count = 96
    layers: Count = 3
    heads: Count = 4
    mlp: Count = 288
    positions: Annotated[int, Field(ge=1, description="longest prompt and completion together, in characters")] = 128
    rope_theta: Annotated[float, Field(gt=0)] = 10000.0
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

    self_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    final_self_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    decay: Literal["constant", "linear", "cosine"] = "constant"
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

    dev_problems: Count = 500
    test_problems: Count = 1000
    max_tokens: Annotated[int, Field(ge=1, description="longest greedy answer, in tokens")] = 512
    also: Annotated[
        str,
        Field(
            min_length=1,
            description="another problem set that must not get worse: base and final are scored on its dev",
        ),
    ] = NONE
    also_problems: Count = 200


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
    problems_per_iteration: Count = 1000
    fresh_problems: Annotated[bool, Field(description="new problems each iteration, or the same ones again")] = True
    iterations: Annotated[int, Field(ge=1, le=1000)] = 4
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
