"""transformers' Trainer for values: mean squared error at each row's last token. Importing this module imports torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import PrinterCallback, TrainingArguments

from tasks.training.trainer import Order, Watch

if TYPE_CHECKING:
    from tasks.training.value import ValueRow


class ValueTrainer(transformers.Trainer):
    """A trainer that is fed rows in a given order and keeps every step's loss."""

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        rows: "Sequence[ValueRow]",
        order: Sequence[int],
        pad: int,
        watch: Watch,
    ) -> None:
        args.remove_unused_columns = False
        super().__init__(
            model=model, args=args, train_dataset=Rows(rows), data_collator=Collator(pad), callbacks=[watch]
        )
        self.order = order
        self.remove_callback(PrinterCallback)
        self.losses: list[torch.Tensor] = []
        self.rows_seen = self.tokens_seen = 0
        # The loss is a mean over the rows of a batch, not a sum over its tokens.
        self.model_accepts_loss_kwargs = False

    def mean_losses(self) -> list[float]:
        """Every step's loss."""
        return torch.stack([loss.detach().float() for loss in self.losses]).tolist() if self.losses else []

    def fed(self) -> tuple[int, int, int]:
        """Rows, tokens, and tokens with loss."""
        return self.rows_seen, self.tokens_seen, self.rows_seen

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return Order(self.order)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: it walks through all modules at every step."""
        return 0

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        values = at_last_token(model, inputs["input_ids"], inputs["attention_mask"])
        loss = torch.nn.functional.mse_loss(values, inputs["values"])
        return (loss, {"values": values}) if return_outputs else loss

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        self.rows_seen += len(inputs["values"])
        self.tokens_seen += int(inputs["attention_mask"].sum())
        loss = super().training_step(model, inputs, num_items_in_batch)
        if len(self.losses) > self.state.global_step:  # a later part of an accumulated step
            self.losses[-1] = self.losses[-1] + loss
        else:
            self.losses.append(loss)
        return loss


def at_last_token(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The head's number at each row's last token that is no padding."""
    states = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    last = mask.sum(dim=1) - 1
    return model.score(states[torch.arange(len(ids), device=ids.device), last])[:, 0].float()


class Rows(torch.utils.data.Dataset[Any]):
    """The rows, by number."""

    def __init__(self, rows: "Sequence[ValueRow]") -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Any:
        return self.rows[place]


class Collator:
    """Rows to one batch, padded on the right."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: "list[ValueRow]") -> dict[str, torch.Tensor]:
        width = max(len(row.input_ids) for row in rows)
        missing = [width - len(row.input_ids) for row in rows]
        pairs = list(zip(rows, missing, strict=True))
        return {
            "input_ids": torch.tensor([row.input_ids + [self.pad] * short for row, short in pairs]),
            "attention_mask": torch.tensor([[1] * (width - short) + [0] * short for short in missing]),
            "values": torch.tensor([row.value for row in rows]),
        }
