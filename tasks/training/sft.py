"""Supervised fine-tuning through TRL's SFTTrainer, as a process of its own: a spec file in, a model folder out.

What every training process does around its trainer is in `tasks.training.child`.
"""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storage.faults import reached
from storage.identity import digest
from tasks.training import checkpoints, ranks
from tasks.training.base import fresh_adapter, keep_precise, open_base, size_of, with_adapter
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
from tasks.training.preflight import check_trainer, tokenise
from tasks.training.rows import TokenRow, read_rows
from tasks.training.spec import TrainingResult, TrainingSpec


def run(spec_path: str, progress: Progress | None = None) -> dict[str, Any]:
    """Trains what the spec file says and gives back the `TrainingResult` as plain JSON values; see `carry_out`."""
    return carry_out(spec_path, _train, progress)


def _train(spec: TrainingSpec, work: Path, started: float, progress: Progress) -> TrainingResult | None:
    import torch
    from datasets import Dataset

    from tasks.training.trainer import Collator, Trainer, Watch, configuration

    set_threads(spec)
    recipe = spec.recipe
    rows = read_rows(spec.examples, spec.members)
    base = base_folder(spec, work)
    tokenizer, model = open_base(base, recipe)
    tokens = tokenise(rows, tokenizer, recipe, spec.chat)
    order = lay_out(len(tokens), recipe.steps * recipe.rows_per_step, spec.seed)
    if recipe.group_by_length:
        order = grouped(order, [len(row.input_ids) for row in tokens], recipe.batch_size * recipe.processes, spec.seed)
    laid_out = [tokens[index] for index in order]

    training = training_digest(spec, base, [row.example_id for row in tokens])
    with first_of_all():
        resumable = checkpoints.newest(work, training)
    watch = Watch(
        training,
        lambda step, loss: progress({"step": step, "steps": recipe.steps, "loss": loss}),
        min(REPORT_EVERY, recipe.steps),
    )
    trainer = Trainer(
        model=with_adapter(model, Path(spec.adapter), recipe) if spec.adapter else model,
        args=configuration(recipe, spec.seed, str(work)),
        train_dataset=Dataset.from_dict(
            {"input_ids": [row.input_ids for row in tokens], "labels": [row.labels for row in tokens]}
        ),
        order=order,
        data_collator=Collator(tokenizer.pad_token_id),
        processing_class=tokenizer,
        callbacks=[watch],
        peft_config=fresh_adapter(recipe) if recipe.adapts and not spec.adapter else None,
    )
    watch.trainer = trainer
    check_trainer(trainer, tokens)
    trained: Any = trainer.model  # the model, or the adapter around it
    if recipe.method == "qlora":
        keep_precise(trained)
    parameters, trainable = size_of(trained)
    if resumable is not None:
        trainer.losses = [torch.tensor(loss) for loss in resumable.losses]
    resumed_from = 0 if resumable is None else resumable.step
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=None if resumable is None else str(resumable.folder))
    reached("training-end")
    check_fed(trainer.fed(), _plan(laid_out[resumed_from * recipe.rows_per_step :]), watch.broken_at)

    losses = trainer.mean_losses()
    if ranks.rank() > 0:
        return None
    seen = sorted({row.example_id for row in laid_out})

    def result(weights: str, files: dict[str, str]) -> TrainingResult:
        return TrainingResult(
            kind=kind_of(recipe),
            steps=recipe.steps,
            rows=len(rows),
            rows_seen=len(laid_out),
            examples_seen=len(seen),
            tokens_seen=sum(len(row.input_ids) for row in laid_out),
            tokens_trained=sum(row.trained_tokens for row in laid_out),
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
        )

    return published(trained, tokenizer, base, spec, result)


def _plan(rows: Sequence[TokenRow]) -> tuple[int, int, int]:
    """Rows, tokens, and tokens with loss."""
    return len(rows), sum(len(row.input_ids) for row in rows), sum(row.trained_tokens for row in rows)
