"""Preference training through TRL's DPOTrainer, as a process of its own: like `tasks.training.sft`, on pairs.

Direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290) with the weights that the training starts from as its
reference: -log sigmoid(beta · ((log p(chosen) - log p0(chosen)) - (log p(rejected) - log p0(rejected)))). `dpo_nll` adds the
chosen side's negative log-likelihood a token (Iterative RPO, Pang et al. 2024, arXiv 2404.19733, equation 1): TRL's losses
`sigmoid` and `sft`, weighted 1 and `nll_weight`. Where the paper divides by each row's length, TRL takes the mean over the
batch's tokens, so a longer row counts for more.

What it did to the first `LOOKED_AT` pairs is measured on the weights before and after: the mean of
log p(chosen) - log p(rejected), the share of pairs in which that is above zero, and both sides' log-likelihood.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storage.errors import TrainingFault
from storage.faults import reached
from storage.identity import digest
from tasks.training import checkpoints, ranks
from tasks.training.base import fresh_adapter, keep_precise, open_base, size_of
from tasks.training.child import (
    REPORT_EVERY,
    Progress,
    base_folder,
    carry_out,
    check_fed,
    first_of_all,
    kind_of,
    published,
    set_threads,
    training_digest,
)
from tasks.training.order import grouped, lay_out
from tasks.training.pairs import TokenPair, check_holds, read_pairs, tokenise_pairs
from tasks.training.spec import TrainingResult, TrainingSpec

LOOKED_AT = 256
"""Pairs whose likelihoods are measured before and after a training."""


def run(spec_path: str, progress: Progress | None = None) -> dict[str, Any]:
    """Trains what the spec file says and gives back the `TrainingResult` as plain JSON values; see `carry_out`."""
    return carry_out(spec_path, _train, progress)


def _train(spec: TrainingSpec, work: Path, started: float, progress: Progress) -> TrainingResult | None:
    import torch
    from datasets import Dataset

    from tasks.training.preference import PairCollator, PreferenceTrainer, configuration, likelihoods
    from tasks.training.trainer import Watch

    set_threads(spec)
    recipe = spec.recipe
    if spec.adapter:
        raise TrainingFault("an adapter is not trained on by preference: begin at its base, with restart = base")
    base = base_folder(spec, work)
    tokenizer, model = open_base(base, recipe)
    pairs = tokenise_pairs(read_pairs(spec.examples, spec.members), tokenizer, recipe, spec.chat)
    order = lay_out(len(pairs), recipe.steps * recipe.rows_per_step, spec.seed)
    if recipe.group_by_length:
        order = grouped(order, [pair.longest for pair in pairs], recipe.batch_size * recipe.processes, spec.seed)
    laid_out = [pairs[index] for index in order]

    training = training_digest(spec, base, [row.example_id for pair in pairs for row in (pair.chosen, pair.rejected)])
    with first_of_all():
        resumable = checkpoints.newest(work, training)
    watch = Watch(
        training,
        lambda step, loss: progress({"step": step, "steps": recipe.steps, "loss": loss}),
        min(REPORT_EVERY, recipe.steps),
    )
    trainer = PreferenceTrainer(
        model=model,
        # An adapter's reference is its base, which peft holds already.
        ref_model=None if recipe.adapts else open_base(base, recipe)[1].eval(),
        args=configuration(recipe, spec.seed, str(work)),
        train_dataset=Dataset.from_list([pair.plain for pair in pairs]),
        order=order,
        data_collator=PairCollator(tokenizer.pad_token_id),
        processing_class=tokenizer,
        callbacks=[watch],
        peft_config=fresh_adapter(recipe) if recipe.adapts else None,
    )
    watch.trainer = trainer
    check_holds(trainer, pairs)
    trained: Any = trainer.model  # the model, or the adapter around it
    if recipe.method == "qlora":
        keep_precise(trained)
    parameters, trainable = size_of(trained)
    looked_at = pairs[:LOOKED_AT]
    before = likelihoods(trainer, looked_at)
    if resumable is not None:
        trainer.losses = [torch.tensor(loss) for loss in resumable.losses]
    resumed_from = 0 if resumable is None else resumable.step
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=None if resumable is None else str(resumable.folder))
    reached("training-end")
    check_fed(trainer.fed(), _plan(laid_out[resumed_from * recipe.rows_per_step :]), watch.broken_at)

    losses = trainer.mean_losses()
    after = likelihoods(trainer, looked_at)
    if ranks.rank() > 0:
        return None
    trainer.forget_reference()
    seen = sorted({row.example_id for pair in laid_out for row in (pair.chosen, pair.rejected)})

    def result(weights: str, files: dict[str, str]) -> TrainingResult:
        return TrainingResult(
            kind=kind_of(recipe),
            steps=recipe.steps,
            rows=2 * len(pairs),
            rows_seen=2 * len(laid_out),
            examples_seen=len(seen),
            tokens_seen=sum(pair.tokens for pair in laid_out),
            tokens_trained=sum(pair.trained_tokens for pair in laid_out),
            final_loss=math.fsum(losses[-10:]) / len(losses[-10:]),
            trained_digest=digest(seen),
            weights_digest=weights,
            files=files,
            parameters=parameters,
            trainable_parameters=trainable,
            startup_s=began - started,
            work_s=time.perf_counter() - began,
            resumed_from=resumed_from,
            losses=losses,
            preference=shift(before, after),
        )

    return published(trained, tokenizer, base, spec, result)


def shift(before: Sequence[tuple[float, float]], after: Sequence[tuple[float, float]]) -> dict[str, float]:
    """What became of the pairs' log-likelihoods (chosen, rejected), in nats."""
    told: dict[str, float] = {"pairs": len(before)}
    for name, pairs in (("before", before), ("after", after)):
        margins = [chosen - rejected for chosen, rejected in pairs]
        told |= {
            f"margin_{name}": math.fsum(margins) / len(pairs),
            f"accuracy_{name}": sum(margin > 0 for margin in margins) / len(pairs),
            f"chosen_{name}": math.fsum(chosen for chosen, _ in pairs) / len(pairs),
            f"rejected_{name}": math.fsum(rejected for _, rejected in pairs) / len(pairs),
        }
    return {name: round(value, 6) for name, value in told.items()}


def _plan(pairs: Sequence[TokenPair]) -> tuple[int, int, int]:
    """Rows, tokens, and tokens with loss."""
    return 2 * len(pairs), sum(pair.tokens for pair in pairs), sum(pair.trained_tokens for pair in pairs)
