"""What each method can be told beside what every loop is (`flows.config.LoopConfig`)."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from flows.config import ALL, NONE, OWN, LoopConfig, MixConfig, SamplingConfig
from flows.search_config import SearchConfig, ValueConfig
from storage.errors import UserMistake

UNCHECKED = "correctness is not checked: the filters look at form and novelty only; in the paper 54 % of such instances were right"
"""What goes with everything that Self-Instruct makes (section 2.3 of the paper: right in every field)."""
VERIFIER, LIKELIHOOD = "verifier", "likelihood"
"""What a reward can be beside the score of a verifier of its own."""


class StarConfig(LoopConfig):
    """STaR (Zelikman et al. 2022): what it adds to a loop."""

    rationalize_iterations: Annotated[
        Annotated[int, Field(ge=0)] | Literal["all"],
        Field(description="retry failures with the answer as a hint in the first so many iterations, or in all"),
    ] = ALL
    train_on: Annotated[
        Literal["correct", "everything", "answers", "corpus"],
        Field(
            description="correct is STaR; the others are controls: no filter, gold answers alone, the base's own corpus"
        ),
    ] = "correct"

    @property
    def learns_from_what_passed(self) -> bool:
        return self.train_on == "correct"


class RestConfig(LoopConfig):
    """ReST (Gulcehre et al. 2023): several Improve steps a Grow step, with rising thresholds and falling learning rates."""

    reward: Annotated[
        str,
        Field(
            min_length=1,
            description="verifier: its score, or 1 for passed and 0 for failed where it gives none; likelihood: the model's own mean "
            "log-likelihood a token; or another verifier, for its score: sum_steps, judge:…",
        ),
    ] = VERIFIER
    thresholds: Annotated[
        tuple[float, ...],
        Field(min_length=1, description="one Improve step each, rising: what has a reward above it is trained on"),
    ] = (0.0, 0.5, 0.9)
    threshold_kind: Annotated[
        Literal["absolute", "quantile"],
        Field(description="thresholds as rewards, or as the share of the samples that lies below"),
    ] = "absolute"
    learning_rate_decay: Annotated[
        float, Field(gt=0, le=1, description="the learning rate's factor from one Improve step to the next")
    ] = 0.5
    restart: Annotated[
        Literal["base", "previous"],
        Field(
            description="which weights a Grow's first Improve step trains from; the others go on from the one before"
        ),
    ] = "previous"

    @property
    def further_verifiers(self) -> tuple[str, ...]:
        return () if self.reward in {VERIFIER, LIKELIHOOD} else (self.reward,)

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        if any(later <= earlier for earlier, later in zip(self.thresholds, self.thresholds[1:], strict=False)):
            raise ValueError(
                f"thresholds = {list(self.thresholds)} do not rise; ReST keeps less with every Improve step"
            )
        if self.training.objective != "sft":
            raise ValueError(
                f"training.objective = {self.training.objective} pairs right answers with wrong ones, and ReST keeps what is above a "
                "threshold; set it to sft"
            )
        if self.threshold_kind == "quantile" and not all(0 <= one < 1 for one in self.thresholds):
            raise ValueError(f"thresholds = {list(self.thresholds)} as quantiles have to be at least 0 and below 1")
        return self


class RestEmConfig(LoopConfig):
    """ReST-EM (Singh et al. 2023): many samples a problem, at most ten correct ones of each, always from the base."""

    samples: Annotated[int, Field(ge=1, description="attempts a problem; the paper takes 32 on MATH, 64 on APPS")] = 32
    mix: MixConfig = MixConfig(cap_per_problem=10)
    final: Annotated[
        Literal["last", "best"],
        Field(description="the model that is tested and handed over: the last one, or the one that did best on dev"),
    ] = "best"


class RestMctsConfig(LoopConfig):
    """ReST-MCTS* (Zhang et al. 2024): solutions by tree search with a learned process value, which learns from the trees."""

    sampling: SamplingConfig = SamplingConfig(temperature=0.7)
    search: SearchConfig = SearchConfig()
    value: ValueConfig = ValueConfig()
    restart: Annotated[Literal["base", "previous"], Field(description="which weights each iteration trains from")] = (
        "previous"
    )

    @property
    def step_delimiter(self) -> str:
        """What ends a step; empty where that is a number of tokens."""
        return "" if self.search.delimiter == NONE else self.search.delimiter


class GsrConfig(LoopConfig):
    """Generative self-refinement (arXiv 2509.00084): several candidates a problem, one refinement of them, training on both."""

    samples: Annotated[
        int, Field(description="candidates a problem, side by side, that one refinement is made from; 2 or more")
    ] = 4
    critique: Annotated[
        Literal["none", "text"],
        Field(description="text: before it refines, the model writes what is wrong with the candidates"),
    ] = NONE
    train_on: Annotated[
        Literal["hybrid", "direct", "refined"],
        Field(description="hybrid is GSR; the others are controls: right candidates alone, right refinements alone"),
    ] = "hybrid"

    @property
    def learns_from_what_passed(self) -> bool:
        return self.train_on == "hybrid"

    @model_validator(mode="after")
    def _several_candidates(self) -> Self:
        if self.samples < 2:
            raise ValueError(
                f"samples = {self.samples} gives nothing to refine from: GSR makes one answer of two or more candidates; "
                "set samples to 2 or more, or take a method that asks once (star, rest_em)"
            )
        return self


class CareStarConfig(LoopConfig):
    """CARE-STaR (after Li et al. 2025): what is kept has to meet every constraint, not its answer alone."""

    constraints: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        Field(
            min_length=1,
            description="verifiers, each of whose aspects has to pass; own: the problem set's; instruction: what the instruction says",
        ),
    ] = (OWN,)
    levels: Annotated[
        int,
        Field(
            ge=1,
            le=4,
            description="constraints up to this level decide (1 counted, 2 found, 3 read, 4 followed); harder ones are measured only",
        ),
    ] = 4
    held_to: Annotated[
        Literal["constraints", "answer"],
        Field(
            description="what a kept sample has to meet: constraints is CARE-STaR; answer is the control: what passes the problem set's verifier, as in STaR"
        ),
    ] = "constraints"
    self_check: Annotated[
        Literal["on", "off"], Field(description="the model says of each constraint whether its own text meets it")
    ] = "on"
    check_template: Annotated[str, Field(min_length=1, description="the prompt of that question")] = "constraint_check"
    rationalize_iterations: Annotated[
        Annotated[int, Field(ge=0)] | Literal["all"],
        Field(
            description="retry what met not all, with the answer as a hint, in the first so many iterations, or in all"
        ),
    ] = ALL

    @property
    def further_verifiers(self) -> tuple[str, ...]:
        return ("choice",) if self.self_check == "on" else ()

    @property
    def further_templates(self) -> tuple[str, ...]:
        return (self.check_template,) if self.self_check == "on" else ()

    def demanded(self, verifier: str) -> list[str]:
        """The verifiers of the constraints."""
        return [verifier if one == OWN else one for one in self.constraints]

    def kept_by(self, verifier: str) -> str:
        from flows.constraints import required

        return verifier if self.held_to == "answer" else required(self.demanded(verifier), self.levels)

    def measured_by(self, verifier: str) -> str | None:
        from flows.constraints import joined, measured

        harder = None if self.held_to == "answer" else measured(self.demanded(verifier), self.levels)
        found = [one for one in (super().measured_by(verifier), harder) if one is not None]
        return joined(found) if found else None

    def check_problems(self) -> None:
        from flows.constraints import check_care_star

        check_care_star(self)


class VariedSamplingConfig(SamplingConfig):
    """How new things are asked for: what a text has said already can be made less likely."""

    presence_penalty: Annotated[
        float, Field(ge=-2, le=2, description="taken off the logit of every token that the text has already; 0: off")
    ] = 0.0


class SelfInstructConfig(LoopConfig):
    """Self-Instruct (Wang et al. 2022): a model writes its own tasks from a few of people's; nobody checks that they are right.

    An iteration is some rounds of writing and one fine-tuning. Of `sampling`, only `stop` is used, for held-out answers.
    """

    problems: Annotated[
        str, Field(description="seed tasks: seed_tasks:FILE.jsonl, or a few of our own as seed_tasks")
    ] = "seed_tasks"
    fresh_problems: Annotated[bool, Field(description="the seeds are the same in every round")] = False
    iterations: Annotated[int, Field(ge=1, le=1000, description="the paper writes and trains once")] = 1
    zpd: Annotated[
        Literal["stop", "warn", "off"],
        Field(description="the zone is of tasks whose answers can be checked; here, off"),
    ] = "off"
    target: Annotated[
        int, Field(ge=1, description="an iteration's rounds end once it has so many new instructions")
    ] = 200
    rounds: Annotated[int, Field(ge=1, description="most rounds an iteration")] = 10
    proposals: Annotated[int, Field(ge=1, description="prompts a round, each for several instructions")] = 20
    human_examples: Annotated[int, Field(ge=1, description="seeds in a prompt")] = 6
    machine_examples: Annotated[
        int, Field(ge=0, description="instructions of the model's own in a prompt; seeds, until there are any")
    ] = 2
    novelty: Annotated[
        float, Field(gt=0, le=1, description="an instruction with a ROUGE-L above this with any other is refused")
    ] = 0.7
    instances: Annotated[int, Field(ge=1, description="most instances an instruction")] = 5
    include_seeds: Annotated[bool, Field(description="train on the seeds' own instances, too")] = True
    longest: Annotated[
        int, Field(ge=1, description="longest training row in characters, prompt and all; longer ones are left out")
    ] = 2000
    proposing: VariedSamplingConfig = VariedSamplingConfig(
        temperature=0.7, top_p=0.5, presence_penalty=2, max_tokens=1024, stop=("\n\n", "\n16")
    )
    answering: VariedSamplingConfig = VariedSamplingConfig(
        temperature=0, presence_penalty=1.5, max_tokens=350, stop=("\nTask:",)
    )

    @property
    def correctness(self) -> str:
        return UNCHECKED


CONFIGS: dict[str, type[LoopConfig]] = {
    "care_star": CareStarConfig,
    "gsr": GsrConfig,
    "rest": RestConfig,
    "rest_em": RestEmConfig,
    "rest_mcts": RestMctsConfig,
    "self_instruct": SelfInstructConfig,
    "star": StarConfig,
}
"""Method to its configuration."""


def config_class(method: str) -> type[LoopConfig]:
    """The configuration of a method; UserMistake names the valid ones."""
    if method not in CONFIGS:
        raise UserMistake(f"no method {method!r}; this checkout has: {', '.join(sorted(CONFIGS))}")
    return CONFIGS[method]
