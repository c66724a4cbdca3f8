"""What a training process is told (`TrainingSpec`) and what it answers (`TrainingResult`): two JSON files.

    {"base": "/home/checkpoints/9b1c…", "architecture": null, "examples": ["…/shards/example/77ab….parquet"],
     "members": ["…/shards/mix_member/03d1….parquet"], "recipe": {"steps": 130, …}, "seed": 0,
     "out": "/home/trainings/5a0e…/model", "work": "/home/trainings/5a0e…/trainer", "threads": 2}

Both are written for one machine: what decides the weights, and so enters identities, is in the recipe and the rows.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from storage.errors import TrainingFault, UserMistake
from tasks.training.embedded import Architecture
from tasks.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """One training. Either `base` (a model folder) or `architecture` (fresh random weights from `seed`) is given.

    `examples` are Parquet shards with example_id, prompt and completion; `members` are shards with position,
    example_id, role and weight, which say which of them are trained on and in which order they are known. `out` is
    the folder that will hold the checkpoint; `work` holds what a resume needs and may be deleted after.
    `threads` 0 leaves the number to torch. `adapter` is the folder of an adapter of `base` to train on. `chat` is the chat
    template that the prompts were rendered with, for the preflight to ask the tokenizer; None where there is none.
    """

    base: str | None
    examples: tuple[str, ...]
    members: tuple[str, ...]
    recipe: Recipe
    seed: int
    out: str
    work: str
    threads: int = 0
    architecture: Architecture | None = None
    adapter: str | None = None
    chat: str | None = None

    def __post_init__(self) -> None:
        if (self.base is None) == (self.architecture is None):
            raise UserMistake("a training needs either a base model folder or an architecture to start afresh from")
        if self.architecture is not None and self.recipe.adapts:
            raise UserMistake("LoRA needs a base model; fresh weights can only be trained in full")
        if self.architecture is not None and self.recipe.processes > 1:
            raise UserMistake("fresh weights are trained by one process; set processes = 1 for the pre-training")
        if self.adapter is not None and not self.recipe.adapts:
            raise UserMistake(f"the adapter {self.adapter} can only be trained on as one; set method = lora or qlora")

    @property
    def result_path(self) -> Path:
        """Beside the checkpoint folder, so that the folder holds nothing but the model."""
        return Path(f"{self.out}.training.json")

    def write(self, path: Path) -> Path:
        """The spec as a JSON file at `path`."""
        document = asdict(self) | {"recipe": self.recipe.plain()}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """The spec at `path`; a TrainingFault if it cannot be read as one."""
        try:
            document: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            architecture = document.pop("architecture", None)
            recipe = Recipe.of(document.pop("recipe"))
            document |= {"examples": tuple(document["examples"]), "members": tuple(document["members"])}
            return cls(
                **document,
                recipe=recipe,
                architecture=None if architecture is None else Architecture(**architecture),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainingFault(f"{path} is no training spec ({type(error).__name__}: {error})") from error


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training did and made.

    `rows` is the size of the mix, `rows_seen` counts rows over all steps, `examples_seen` the different ones among them;
    `tokens_seen` leaves padding out, `tokens_trained` counts those that carried loss. `final_loss` is the mean over
    the last ten steps (nats a token), `losses` every step's. `trained_digest` is the digest of the sorted
    ids of the examples seen. `startup_s` is everything before the first step, `work_s` the steps and the saving.
    `files` gives each file's digest by name: weights by tensor content, the others by their bytes.
    `kind` is full or adapter. `resumed_from` is the step a killed training went on from, 0 if it was not. `preference` is what
    a training on pairs did to them: see `tasks.training.dpo`.
    """

    kind: str
    steps: int
    rows: int
    rows_seen: int
    examples_seen: int
    tokens_seen: int
    tokens_trained: int
    final_loss: float
    trained_digest: str
    weights_digest: str
    files: dict[str, str]
    parameters: int
    trainable_parameters: int
    startup_s: float
    work_s: float
    resumed_from: int = 0
    losses: list[float] = field(default_factory=list)
    preference: dict[str, float] | None = None

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Self:
        return cls(**document)
