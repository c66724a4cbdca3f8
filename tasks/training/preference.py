"""TRL's DPOTrainer as `tasks.training.trainer` has its SFTTrainer. Importing this module imports torch, transformers and TRL.

The pairs come tokenised and TRL's own preparation is left out, so none of it can drop or cut a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from peft import PeftModel
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.utils import FusedCausalLMOutput

from tasks.training.pairs import TokenPair
from tasks.training.recipe import Recipe
from tasks.training.trainer import SMALL_VOCABULARY, Watched, arguments

REFERENCE = "ref"
"""What TRL calls the copy of an adapter that it starts from."""


class PreferenceTrainer(Watched, DPOTrainer):
    """A DPOTrainer that keeps every step's loss and counts the tokens it was fed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for model in (self.model, self.ref_model):
            plain: Any = model.get_base_model() if isinstance(model, PeftModel) else model
            if plain is not None and plain.config.get_text_config().vocab_size <= SMALL_VOCABULARY:
                plain.forward = MethodType(_with_logits, plain)

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """The rows are final: tokenised, ended and whole."""
        return dataset

    def with_loss(self, inputs: dict[str, Any]) -> torch.Tensor:
        return inputs["completion_mask"][:, 1:] != 0

    def forget_reference(self) -> None:
        """Leaves nothing but what was trained: the adapter that it started from is not part of the checkpoint."""
        model: Any = self.model
        if isinstance(model, PeftModel) and REFERENCE in model.peft_config:
            model.delete_adapter(REFERENCE)


@dataclass(frozen=True, slots=True)
class PairCollator:
    """Pairs to one batch, padded on the right: the chosen sides, then the rejected ones."""

    pad: int

    def __call__(self, pairs: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        rows = [(pair["prompt_ids"], pair[side]) for side in ("chosen_ids", "rejected_ids") for pair in pairs]
        width = max(len(prompt) + len(completion) for prompt, completion in rows)
        missing = [width - len(prompt) - len(completion) for prompt, completion in rows]
        padded = list(zip(rows, missing, strict=True))
        return {
            "input_ids": torch.tensor([[*prompt, *rest, *[self.pad] * short] for (prompt, rest), short in padded]),
            "attention_mask": torch.tensor([[1] * (width - short) + [0] * short for short in missing]),
            "completion_mask": torch.tensor(
                [[0] * len(prompt) + [1] * len(rest) + [0] * short for (prompt, rest), short in padded]
            ),
        }


def configuration(recipe: Recipe, seed: int, work: str) -> DPOConfig:
    """The recipe in the trainer's own words."""
    both = recipe.objective == "dpo_nll"
    return DPOConfig(
        **arguments(recipe, seed, work),
        beta=recipe.dpo_beta,
        loss_type=["sigmoid", "sft"] if both else ["sigmoid"],
        loss_weights=[1.0, recipe.nll_weight] if both else [1.0],
        disable_dropout=True,
    )


def likelihoods(trainer: PreferenceTrainer, pairs: Sequence[TokenPair], batch: int = 16) -> list[tuple[float, float]]:
    """log p(chosen) and log p(rejected) of every pair, summed over the completion's tokens, in nats."""
    model: Any = trainer.model
    was_training = model.training
    model.eval()
    tokenizer: Any = trainer.processing_class
    collate = PairCollator(tokenizer.pad_token_id)
    found: list[tuple[float, float]] = []
    with torch.no_grad(), trainer.accelerator.autocast():
        for start in range(0, len(pairs), batch):
            inputs = trainer._prepare_inputs(collate([pair.plain for pair in pairs[start : start + batch]]))
            labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
            said = model(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                labels=labels,
                fused_lm_head=True,
            ).log_probs.sum(dim=1)
            chosen, rejected = said.float().chunk(2)
            found += zip(chosen.tolist(), rejected.tolist(), strict=True)
    model.train(was_training)
    return found


def _with_logits(model: Any, *, labels: torch.Tensor, fused_lm_head: bool = True, **inputs: Any) -> FusedCausalLMOutput:
    """What TRL's fused head gives, from the logits themselves: see `SMALL_VOCABULARY`."""
    del fused_lm_head
    hidden = model.base_model(**inputs | {"use_cache": False}).last_hidden_state[:, :-1]
    logits = model.get_output_embeddings()(hidden).float()
    labels = labels[:, 1:]
    counted = labels != -100
    log_probs = logits.log_softmax(-1)
    chosen = log_probs.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    with torch.no_grad():
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        top = logits.argmax(-1) == labels
    return FusedCausalLMOutput(
        log_probs=chosen.masked_fill(~counted, 0),
        entropy=entropy.masked_fill(~counted, 0),
        mean_logits=logits.detach().mean(-1).masked_fill(~counted, 0),
        is_top1=top & counted,
        label_mask=counted,
    )
