"""How to train: the numbers that, with base, mix and seed, decide the weights that come out."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from storage.errors import UserMistake

SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
"""Ours to the name the trainer knows; all of them warm up over `warmup_steps`, the first two end at zero."""

METHODS = ("full", "lora", "qlora")
DTYPES = ("float32", "bfloat16")
OBJECTIVES = {
    "sft": "tasks.training.sft",
    "dpo": "tasks.training.dpo",
    "dpo_nll": "tasks.training.dpo",
    "value": "tasks.training.value",
}
"""What is minimised, to the module that does: the likelihood of completions, a preference of one over another, or the squared error
of what a text is worth.
"""
PREFERENCES, VALUE = ("dpo", "dpo_nll"), "value"
_PREFERENCE_ONLY = ("dpo_beta", "nll_weight")
_ADAPTERS_ONLY = ("lora_rank", "lora_alpha", "lora_dropout", "lora_targets")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training's settings.

    A step sees `batch_size * grad_accumulation` rows (or pairs). `dtype` is that of the arithmetic: with bfloat16 and full weights,
    the weights are kept in float32 while training and saved in bfloat16. `max_length` counts tokens of prompt, completion and EOS;
    a longer row is refused unless `truncate`, which cuts its end. `save_steps` 0 keeps nothing to resume from.
    `lora_targets` are module names, or `all-linear` alone. `method` qlora is LoRA on a base that is held in 4 bits (NF4).
    `group_by_length` puts rows of like length into a batch. `processes` train together, each on a device of its own; a step
    then sees `processes` times as many rows. `objective` value makes a value model (`tasks.training.value`); dpo takes pairs, so that `batch_size` counts those; dpo_nll adds
    `nll_weight` times the chosen side's loss a token. `dpo_beta` is DPO's: how hard it holds to the weights it starts from.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup_steps: int = 20
    schedule: str = "linear"
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = 1.0
    max_length: int = 512
    truncate: bool = False
    grad_accumulation: int = 1
    method: str = "full"
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    lora_targets: tuple[str, ...] = ("all-linear",)
    dtype: str = "float32"
    gradient_checkpointing: bool = False
    save_steps: int = 0
    group_by_length: bool = False
    processes: int = 1
    objective: str = "sft"
    dpo_beta: float = 0.1
    nll_weight: float = 1.0

    def __post_init__(self) -> None:
        for name, known in (
            ("schedule", tuple(SCHEDULES)), ("method", METHODS), ("dtype", DTYPES), ("objective", tuple(OBJECTIVES))
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise UserMistake(f"no {name} {getattr(self, name)!r} for training; choose one of {', '.join(known)}")
        for name in ("steps", "batch_size", "max_length", "grad_accumulation", "lora_rank", "lora_alpha", "processes"):
            if getattr(self, name) < 1:
                raise UserMistake(f"the recipe's {name} is {getattr(self, name)}; it must be at least 1")
        for name in ("warmup_steps", "save_steps", "weight_decay", "max_grad_norm", "lora_dropout"):
            if getattr(self, name) < 0:
                raise UserMistake(f"the recipe's {name} is {getattr(self, name)}; it cannot be negative")
        for name in ("dpo_beta", "nll_weight"):
            if not getattr(self, name) > 0:
                raise UserMistake(f"the recipe's {name} is {getattr(self, name)}; it must be above 0")
        if self.prefers and self.truncate:
            raise UserMistake(
                "a side of a pair is never cut off: set truncate = false, and max_length to what pairs need"
            )
        if not self.learning_rate > 0:
            raise UserMistake(f"the recipe's learning_rate is {self.learning_rate}; it must be above 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise UserMistake(f"the recipe's betas are {list(self.betas)}; both must lie in [0, 1)")

    @property
    def prefers(self) -> bool:
        """Whether it is trained on pairs."""
        return self.objective in PREFERENCES

    @property
    def trainer(self) -> str:
        """The module whose `run` is the training's process."""
        return OBJECTIVES[self.objective]

    @property
    def rows_per_step(self) -> int:
        return self.batch_size * self.grad_accumulation * self.processes

    @property
    def adapts(self) -> bool:
        """Whether an adapter comes of it, and not weights."""
        return self.method != "full"

    def canonical(self) -> dict[str, Any]:
        """What of the recipe decides the weights, as plain JSON values: the part of an identity.

        Without `save_steps`, since a resumed training gives the same weights, without LoRA's settings for full weights, and
        without what is switched off: so that a setting that is added changes no identity.
        """
        left_out = {"save_steps", *(() if self.adapts else _ADAPTERS_ONLY)}
        left_out |= set() if self.prefers else set(_PREFERENCE_ONLY)
        left_out |= {"nll_weight"} if self.objective == "dpo" else set()
        off_by_default = (("group_by_length", False), ("processes", 1), ("objective", "sft"))
        left_out |= {name for name, off in off_by_default if getattr(self, name) == off}
        return {name: value for name, value in self.plain().items() if name not in left_out}

    def plain(self) -> dict[str, Any]:
        """All settings as plain JSON values; `Recipe.of` takes them back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """A recipe from plain values, such as a preset's table; an unknown name is a mistake that lists the known ones."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(settings) - known):
            raise UserMistake(f"no recipe setting {unknown[0]!r}; there are: {', '.join(sorted(known))}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
        }
        if "steps" not in values:
            raise UserMistake("the recipe names no number of steps")
        return cls(**values)
