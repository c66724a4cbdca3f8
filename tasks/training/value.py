"""A value model: a language model with a scalar head on the last token, trained to say what a partial solution is worth.

    {"prompt": "00628+00579=89072710", "completion": "0.285714"}        a row of its training set: a text, and its value

Mean squared error over the rows; what is above 1 or below 0 is cut off where the model is used (`tasks.engines.value`), not here. It
starts from a causal model's folder with a fresh head, or from an earlier value model. A process of its own like `tasks.training.sft`,
with the same spec, recipe, order of rows, resumable checkpoints and folder that appears whole or not at all. Whole weights only.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import TrainingFault, UserMistake
from storage.faults import reached
from storage.identity import digest
from tasks.training import checkpoints
from tasks.training.base import size_of
from tasks.training.child import (
    REPORT_EVERY,
    Progress,
    base_folder,
    carry_out,
    check_fed,
    kind_of,
    published,
    set_threads,
    training_digest,
)
from tasks.training.order import lay_out
from tasks.training.rows import Row, read_rows
from tasks.training.spec import TrainingResult, TrainingSpec

HEAD = ("score.weight",)


@dataclass(frozen=True, slots=True)
class ValueRow:
    """A row as the model sees it."""

    example_id: str
    input_ids: list[int]
    value: float


def run(spec_path: str, progress: Progress | None = None) -> dict[str, Any]:
    """Trains what the spec file says and gives back the `TrainingResult` as plain JSON values; see `carry_out`.

    Raises TrainingFault also for rows and values that do not fit, and UserMistake for a recipe that does not.
    """
    return carry_out(spec_path, _train, progress)


def open_base(folder: Path, seed: int) -> tuple[Any, Any]:
    """The base's tokenizer, and the model with one number at its last token: its own head, or a fresh one drawn by the seed.

    Raises TrainingFault where the model is of an architecture that has no such form.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            opened: Any = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=torch.float32, num_labels=1, output_loading_info=True
            )
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise TrainingFault(f"{folder} cannot become a value model: {str(error).splitlines()[0]}") from error
    model, loading = opened
    lacking = sorted(set(map(str, loading["missing_keys"])) - set(HEAD))
    if lacking or not hasattr(model, "score"):
        raise TrainingFault(
            f"{folder} cannot become a value model: a {type(model).__name__} "
            f"{'lacks ' + lacking[0] if lacking else 'has no score head'}; name a causal language model such as a Llama or a Qwen"
        )
    model.config.problem_type = "regression"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return tokenizer, model


def value_rows(rows: Sequence[Row], tokenizer: Any, max_length: int) -> list[ValueRow]:
    """The rows as tokens, read as the engine reads them. Raises TrainingFault, naming the first row that does not fit."""
    made: list[ValueRow] = []
    for row in rows:
        name = f"row {row.position} of the value set (exm_{row.example_id})"
        try:
            value = float(row.completion)
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise TrainingFault(f"{name} has the value {row.completion!r:.40}; it must be a number from 0 to 1")
        try:
            tokens = tokenizer(row.prompt, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        except Exception as error:  # tokenizers raises bare Exception for a text it has no tokens for
            raise TrainingFault(
                f"{name} has a character that the base's tokenizer does not know, in {row.prompt!r:.60}"
            ) from error
        if not 0 < len(tokens) <= max_length:
            raise TrainingFault(
                f"{name} has {len(tokens)} tokens; give it from 1 to max_length = {max_length}, or raise that"
            )
        made.append(ValueRow(row.example_id, tokens, value))
    return made


def _train(spec: TrainingSpec, work: Path, started: float, progress: Progress) -> TrainingResult:
    import torch

    from tasks.training.trainer import Watch, configuration
    from tasks.training.value_trainer import ValueTrainer

    recipe = spec.recipe
    if recipe.adapts or recipe.processes > 1 or spec.base is None:
        raise UserMistake(
            "a value model is trained whole, by one process, from a model; set method = full and processes = 1"
        )
    set_threads(spec)
    rows = read_rows(spec.examples, spec.members)
    base = base_folder(spec, work)
    tokenizer, model = open_base(base, spec.seed)
    made = value_rows(rows, tokenizer, recipe.max_length)
    order = lay_out(len(made), recipe.steps * recipe.rows_per_step, spec.seed)
    laid_out = [made[place] for place in order]
    training = training_digest(spec, base, [f"{row.example_id} {row.value}" for row in made])
    resumable = checkpoints.newest(work, training)
    watch = Watch(
        training,
        lambda step, loss: progress({"step": step, "steps": recipe.steps, "loss": loss}),
        min(REPORT_EVERY, recipe.steps),
    )
    trainer = ValueTrainer(
        model, configuration(recipe, spec.seed, str(work)), made, order, tokenizer.pad_token_id, watch
    )
    watch.trainer = trainer
    if resumable is not None:
        trainer.losses = [torch.tensor(loss) for loss in resumable.losses]
    resumed_from = 0 if resumable is None else resumable.step
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=None if resumable is None else str(resumable.folder))
    reached("training-end")
    plan = _plan(laid_out[resumed_from * recipe.rows_per_step :])
    check_fed(trainer.fed(), plan, watch.broken_at)
    losses = trainer.mean_losses()
    seen = sorted({row.example_id for row in laid_out})
    parameters, trainable = size_of(model)

    def result(weights: str, files: dict[str, str]) -> TrainingResult:
        return TrainingResult(
            kind=kind_of(recipe),
            steps=recipe.steps,
            rows=len(rows),
            rows_seen=len(laid_out),
            examples_seen=len(seen),
            tokens_seen=sum(len(row.input_ids) for row in laid_out),
            tokens_trained=len(laid_out),
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

    return published(model, tokenizer, base, spec, result)


def _plan(rows: Sequence[ValueRow]) -> tuple[int, int, int]:
    """Rows, tokens, and tokens with loss: the last of each row."""
    return len(rows), sum(len(row.input_ids) for row in rows), len(rows)
