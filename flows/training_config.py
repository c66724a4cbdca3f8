"""How one training goes: what TRL's trainer is told, and for how many steps in each iteration."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from flows.settings import Settings

if TYPE_CHECKING:
    from tasks.training.recipe import Recipe

Beta = Annotated[float, Field(ge=0, lt=1)]
MOST_STEPS = 10_000_000
"""More optimizer steps than this in one iteration are a mistake in a schedule."""


class TrainingConfig(Settings):
    """How one iteration trains. `steps` is the first iteration's number; `growth` says how it goes on."""

    steps: Annotated[int, Field(ge=1, description="optimizer steps of the first iteration")] = 100
    step_schedule: Annotated[
        Literal["constant", "linear", "exponential"],
        Field(description="how the steps grow from iteration to iteration"),
    ] = "constant"
    step_growth: Annotated[
        float, Field(ge=0, description="linear: steps added each iteration; exponential: the factor, e.g. 1.2")
    ] = 0
    batch_size: Annotated[int, Field(ge=1, description="rows that are computed at once")] = 64
    grad_accumulation: Annotated[int, Field(ge=1, description="batches that one optimizer step adds up")] = 1
    learning_rate: Annotated[float, Field(gt=0, description="AdamW's, at its highest")] = 1e-3
    warmup_steps: Annotated[int, Field(ge=0, description="steps in which the learning rate rises from 0")] = 20
    schedule: Annotated[
        Literal["linear", "cosine", "constant"], Field(description="how the learning rate falls after that")
    ] = "linear"
    weight_decay: Annotated[float, Field(ge=0, description="AdamW's")] = 0.0
    betas: Annotated[tuple[Beta, Beta], Field(description="AdamW's two decay rates")] = (0.9, 0.999)
    max_length: Annotated[int, Field(ge=1, description="longest row in tokens; a longer one is refused, not cut")] = 512
    method: Annotated[
        Literal["full", "lora", "qlora"],
        Field(description="all weights, an adapter, or an adapter on a base in 4 bits"),
    ] = "full"
    lora_rank: Annotated[int, Field(ge=1, description="of an adapter's matrices")] = 16
    lora_alpha: Annotated[int, Field(ge=1, description="an adapter counts by lora_alpha / lora_rank")] = 32
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
