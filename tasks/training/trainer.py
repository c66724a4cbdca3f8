"""TRL's SFTTrainer with what is optional switched off. Importing this module imports torch, transformers and TRL.

What is different from a plain `SFTTrainer`, and why nothing of it changes the weights:

- the rows come tokenised, with labels, so no dataset preparation runs and none can drop a row;
- the order of the rows is laid out beforehand, one epoch long, so a resume needs no sampler state;
- no telemetry, model card, integrations, progress bar, count of floating point operations or console log: a parent
  process listens instead;
- the loss of every step is kept, and what was really fed is counted;
- a batch is padded in one piece, not tensor by tensor;
- a small vocabulary's loss comes from its logits: see `SMALL_VOCABULARY`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import transformers
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.trainer.base_trainer import _BaseTrainer as BaseTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from storage.faults import reached
from tasks.training import checkpoints
from tasks.training.recipe import SCHEDULES, Recipe

SMALL_VOCABULARY = 1024
"""Up to here the loss is the model's own cross-entropy over its logits, the same number.

TRL computes it in tiles of 4,096 tokens by 32,768 words, which never holds the logits of a large vocabulary at once. For
one of 16 characters it allocates a tile of half a gigabyte twice a step and reads it in strides: a quarter of the time.
"""

Progress = Callable[[int, float], None]
"""Told the number of finished steps and the mean loss since the last call."""


class Order(torch.utils.data.Sampler[int]):
    """Row numbers, given."""

    def __init__(self, order: Sequence[int]) -> None:
        self.order = order

    def __iter__(self) -> Iterator[int]:
        return iter(self.order)

    def __len__(self) -> int:
        return len(self.order)


def over_ranks(values: torch.Tensor, mean: bool = False) -> torch.Tensor:
    """The sum (or the mean) over all processes of a training; without others the values themselves. All must call it."""
    if not torch.distributed.is_initialized():
        return values
    values = values.clone()
    torch.distributed.all_reduce(values)
    return values / torch.distributed.get_world_size() if mean else values


class Watched(BaseTrainer):
    """One of TRL's trainers, to be mixed in before it: keeps every step's loss and counts the tokens it was fed."""

    def __init__(self, *args: Any, order: Sequence[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.order = order
        self.remove_callback(PrinterCallback)
        self.losses: list[torch.Tensor] = []
        self.tokens_seen = 0
        self.tokens_trained = 0
        self.rows_seen = 0

    def with_loss(self, inputs: dict[str, Any]) -> torch.Tensor:
        """Which tokens of a batch carry loss, among those that have one before them."""
        return inputs["labels"][:, 1:] != -100

    def mean_losses(self) -> list[float]:
        """Every step's loss, over all processes."""
        if not self.losses:
            return []
        return over_ranks(
            torch.stack([loss.detach().float().to(self.args.device) for loss in self.losses]), True
        ).tolist()

    def fed(self) -> tuple[int, int, int]:
        """Rows, tokens, and tokens with loss, over all processes."""
        counts = torch.tensor([self.rows_seen, self.tokens_seen, self.tokens_trained], device=self.args.device)
        rows, tokens, trained = over_ranks(counts).tolist()
        return rows, tokens, trained

    def _send_telemetry(self) -> None:
        """None."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return Order(self.order)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: it walks through all modules at every step."""
        return 0

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: it would be written into every trainer checkpoint."""

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        self.rows_seen += inputs["attention_mask"].shape[0]
        self.tokens_seen += int(inputs["attention_mask"].sum())
        self.tokens_trained += int(self.with_loss(inputs).sum())
        loss = super().training_step(model, inputs, num_items_in_batch)
        if len(self.losses) > self.state.global_step:  # a later part of an accumulated step
            self.losses[-1] = self.losses[-1] + loss
        else:
            self.losses.append(loss)
        return loss


class Trainer(Watched, SFTTrainer):
    """An SFTTrainer that keeps every step's loss and counts the tokens it was fed."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        unwrapped: Any = self.model
        if unwrapped.config.get_text_config().vocab_size > SMALL_VOCABULARY:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inputs["use_cache"] = False
        return transformers.Trainer.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)


@dataclass(frozen=True, slots=True)
class Collator:
    """Rows to one batch, padded on the right: what TRL's collator makes, in three tensors instead of three a row."""

    pad: int

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        width = max(len(row["input_ids"]) for row in rows)
        missing = [width - len(row["input_ids"]) for row in rows]
        pairs = list(zip(rows, missing, strict=True))
        return {
            "input_ids": torch.tensor([row["input_ids"] + [self.pad] * short for row, short in pairs]),
            "labels": torch.tensor([row["labels"] + [-100] * short for row, short in pairs]),
            "attention_mask": torch.tensor([[1] * (width - short) + [0] * short for short in missing]),
        }


class KeepsLosses(Protocol):
    """A trainer that a watch can look at."""

    losses: list[torch.Tensor]

    def mean_losses(self) -> list[float]:
        """Every step's loss, over all processes."""
        ...


class Watch(TrainerCallback):
    """Seals trainer checkpoints, tells the progress, and stops at once when the loss is no longer a number."""

    def __init__(self, training: str, progress: Progress, every: int) -> None:
        self.training = training
        self.progress = progress
        self.every = every
        self.trainer: KeepsLosses | None = None
        self.broken_at: int | None = None

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> Any:
        reached("training-step")
        losses = self.trainer.losses if self.trainer else []
        if losses and (state.global_step % self.every == 0 or state.global_step == state.max_steps):
            recent = over_ranks(torch.stack([loss.to(args.device) for loss in losses[-self.every :]]), mean=True)
            if not bool(recent.isfinite().all()):
                first = state.global_step - len(recent) + int(recent.isfinite().logical_not().nonzero()[0])
                self.broken_at = first + 1
                control.should_training_stop = True
                control.should_save = False
            else:
                self.progress(state.global_step, float(recent.mean()))
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        losses = self.trainer.mean_losses() if self.trainer else []  # all processes have saved once they are here
        if state.is_world_process_zero:
            reached("training-before-seal")
            checkpoints.seal(folder, state.global_step, losses, self.training)
            reached("training-after-seal")


def configuration(recipe: Recipe, seed: int, work: str) -> SFTConfig:
    """The recipe in the trainer's own words, with every default that could surprise spelt out."""
    return SFTConfig(
        **arguments(recipe, seed, work),
        # The rows are final: tokenised, masked and cut.
        dataset_kwargs={"skip_prepare_dataset": True},
        packing=False,
    )


def arguments(recipe: Recipe, seed: int, work: str) -> dict[str, Any]:
    """What all of TRL's trainers are told alike."""
    return {
        "output_dir": work,
        "seed": seed,
        "data_seed": seed,
        "max_steps": recipe.steps,
        "per_device_train_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.grad_accumulation,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": SCHEDULES[recipe.schedule],
        "warmup_steps": recipe.warmup_steps,
        "weight_decay": recipe.weight_decay,
        "adam_beta1": recipe.betas[0],
        "adam_beta2": recipe.betas[1],
        "max_grad_norm": recipe.max_grad_norm,
        "optim": "adamw_torch_fused",
        "bf16": recipe.dtype == "bfloat16",
        "use_cpu": not torch.accelerator.is_available(),
        "activation_checkpointing": recipe.gradient_checkpointing,
        "max_length": None,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "save_strategy": "steps" if recipe.save_steps else "no",
        "save_steps": recipe.save_steps or recipe.steps,
        "save_total_limit": 2,
        "logging_strategy": "no",
        # Otherwise a loss that is not a number is replaced in the log by the mean of the others.
        "logging_nan_inf_filter": False,
        "report_to": [],
        "disable_tqdm": True,
        "log_level": "error",
    }
