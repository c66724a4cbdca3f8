"""Supervised fine-tuning through TRL's SFTTrainer, as a process of its own: a spec file in, a model folder out.

The folder appears whole or not at all (temporary name, fsync, rename), and holds only the model: weights as safetensors,
config, generation config and the tokenizer's files as the base had them. Asked again for a folder that is there, the
result of the first time is given back. A training that was killed goes on from its last complete trainer checkpoint; on
a CPU with the same number of threads the weights come out bitwise the same.
"""

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storage.errors import TrainingFault
from storage.faults import reached
from storage.identity import digest
from tasks.training import checkpoints, embedded, ranks
from tasks.training.base import fresh_adapter, keep_precise, open_base, size_of, with_adapter
from tasks.training.digests import file_digests, weights_digest
from tasks.training.order import grouped, lay_out
from tasks.training.preflight import check_trainer, tokenise
from tasks.training.rows import Row, TokenRow, read_rows
from tasks.training.saving import publish, save
from tasks.training.spec import TrainingResult, TrainingSpec

REPORT_EVERY = 10
"""Steps between two progress reports."""


def run(spec_path: str, progress: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
    """Trains what the spec file says and gives back the `TrainingResult` as plain JSON values.

    Raises TrainingFault when there is nothing to learn, when the loss stops being a number, or when the base or the
    shards cannot be read; the folder `out` then does not exist.
    """
    started = time.perf_counter()
    spec = TrainingSpec.read(spec_path)
    reached("training-start")
    if (finished := _finished(spec)) is not None:
        return finished.plain() | {"startup_s": time.perf_counter() - started, "work_s": 0.0}
    work = Path(spec.work)
    work.mkdir(parents=True, exist_ok=True)
    tell = progress or (lambda message: None)
    if spec.recipe.processes > ranks.world():
        ranks.launch(spec_path, spec, tell)
        if (made := _finished(spec)) is None:
            raise TrainingFault(f"the processes of the training ended and left no checkpoint in {spec.out}; run again")
        shutil.rmtree(work, ignore_errors=True)
        return made.plain()
    rows = read_rows(spec.examples, spec.members)
    result = _train(spec, rows, work, started, tell)
    reached("checkpoint-after-rename")
    if ranks.world() == 1:
        shutil.rmtree(work, ignore_errors=True)
    return result.plain() if result else {}


def _train(
    spec: TrainingSpec, rows: Sequence[Row], work: Path, started: float, progress: Callable[[dict[str, Any]], None]
) -> TrainingResult | None:
    """What came of it; None in all but the first of a training's processes."""
    import torch
    from datasets import Dataset

    from tasks.training.trainer import Collator, Trainer, Watch, configuration

    if spec.threads:
        torch.set_num_threads(max(1, spec.threads // ranks.world()))
    recipe = spec.recipe
    base = _base_folder(spec, work)
    tokenizer, model = open_base(base, recipe)
    tokens = tokenise(rows, tokenizer, recipe, spec.chat)
    order = lay_out(len(tokens), recipe.steps * recipe.rows_per_step, spec.seed)
    if recipe.group_by_length:
        order = grouped(order, [len(row.input_ids) for row in tokens], recipe.batch_size * recipe.processes, spec.seed)
    laid_out = [tokens[index] for index in order]

    training = _training_digest(spec, base, tokens)
    with _first_of_all():
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
    _check_fed(trainer, watch.broken_at, laid_out[resumed_from * recipe.rows_per_step :])

    losses = trainer.mean_losses()
    if ranks.rank() > 0:
        return None
    temporary = Path(f"{spec.out}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    save(trained, tokenizer, base, temporary, recipe)
    reached("checkpoint-before-result")
    files = file_digests(temporary)
    seen = sorted({row.example_id for row in laid_out})
    result = TrainingResult(
        kind="adapter" if recipe.adapts else "full",
        steps=recipe.steps,
        rows=len(rows),
        rows_seen=len(laid_out),
        examples_seen=len(seen),
        tokens_seen=sum(len(row.input_ids) for row in laid_out),
        tokens_trained=sum(row.trained_tokens for row in laid_out),
        final_loss=math.fsum(losses[-10:]) / len(losses[-10:]),
        trained_digest=digest(seen),
        weights_digest=weights_digest(temporary),
        files=files,
        parameters=parameters,
        trainable_parameters=trainable,
        startup_s=began - started,
        work_s=time.perf_counter() - began,
        resumed_from=resumed_from,
        losses=losses,
    )
    publish(temporary, result, spec)
    return result


def _finished(spec: TrainingSpec) -> TrainingResult | None:
    """The result of an earlier run of this spec, if its folder is there and is what the result says."""
    out = Path(spec.out)
    if not out.is_dir():
        return None
    try:
        result = TrainingResult.of(json.loads(spec.result_path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        result = None
    if result is not None and file_digests(out) == result.files:
        return result
    shutil.rmtree(out)
    return None


def _base_folder(spec: TrainingSpec, work: Path) -> Path:
    if spec.base is not None:
        if not (Path(spec.base) / "config.json").is_file():
            raise TrainingFault(f"the base {spec.base} is no model folder: it has no config.json")
        return Path(spec.base)
    assert spec.architecture is not None  # the spec's own check
    folder = work / "fresh"
    embedded.initialise(folder, spec.seed, spec.architecture)
    return folder


@contextmanager
def _first_of_all() -> Iterator[None]:
    """The first process of a training does what is inside before the others do: it clears what they then find cleared."""
    from accelerate import PartialState

    if ranks.world() == 1:
        yield
        return
    with PartialState().main_process_first():
        yield


def _training_digest(spec: TrainingSpec, base: Path, tokens: Sequence[TokenRow]) -> str:
    """What a trainer checkpoint must have been made from to be gone on with."""
    rows = [row.example_id for row in tokens]
    adapter = [file_digests(Path(spec.adapter))] if spec.adapter else []
    return digest(file_digests(base), *adapter, spec.recipe.canonical(), spec.seed, spec.threads, rows)


def _check_fed(trainer: Any, broken_at: int | None, planned: Sequence[TokenRow]) -> None:
    """Raises TrainingFault unless the trainer was fed exactly the planned rows and tokens."""
    if broken_at is not None:
        raise TrainingFault(
            f"the loss was not a number any more at step {broken_at}; lower the learning rate or raise warmup_steps"
        )
    fed = trainer.fed()
    plan = (len(planned), sum(len(row.input_ids) for row in planned), sum(row.trained_tokens for row in planned))
    if fed != plan:
        raise TrainingFault(f"the trainer was fed (rows, tokens, tokens with loss) {fed} where {plan} were planned")
