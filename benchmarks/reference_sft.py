"""What training is measured against, on the very rows of a training spec: a bare `SFTTrainer` script, and a bare torch loop.

    python -m benchmarks.reference_sft spec.json        # prints one JSON line for each

`run` is what a person writes after reading TRL's documentation: prompt and completion as tokens with a completion mask, and
the recipe's numbers; it saves the model, as ours does. `loop` is the floor: forward, loss, backward, clip, AdamW, nothing else.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tasks.training import embedded
from tasks.training.order import lay_out
from tasks.training.preflight import tokenise
from tasks.training.recipe import SCHEDULES
from tasks.training.rows import TokenRow, read_rows
from tasks.training.spec import TrainingSpec


def run(spec_path: str) -> dict[str, Any]:
    """Seconds and tokens of `SFTTrainer.train()` and `save_model()`."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    spec = TrainingSpec.read(spec_path)
    recipe = spec.recipe
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer, rows = _prepare(spec, Path(folder))
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=folder,
                max_steps=recipe.steps,
                per_device_train_batch_size=recipe.batch_size,
                gradient_accumulation_steps=recipe.grad_accumulation,
                learning_rate=recipe.learning_rate,
                lr_scheduler_type=SCHEDULES[recipe.schedule],
                warmup_steps=recipe.warmup_steps,
                weight_decay=recipe.weight_decay,
                max_grad_norm=recipe.max_grad_norm,
                max_length=recipe.max_length,
                completion_only_loss=True,
                activation_checkpointing=recipe.gradient_checkpointing,
                bf16=recipe.dtype == "bfloat16",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=spec.seed,
            ),
            train_dataset=Dataset.from_dict(
                {
                    "input_ids": [row.input_ids for row in rows],
                    "completion_mask": [
                        [int(place >= row.prompt_tokens) for place in range(len(row.input_ids))] for row in rows
                    ],
                }
            ),
            processing_class=tokenizer,
        )
        began, used = time.perf_counter(), time.process_time()
        trainer.train()
        trainer.save_model()
        return _measured("SFTTrainer", rows, began, used)


def loop(spec_path: str) -> dict[str, Any]:
    """Seconds and tokens of a loop with nothing in it but the arithmetic."""
    import torch

    spec = TrainingSpec.read(spec_path)
    recipe = spec.recipe
    with tempfile.TemporaryDirectory() as folder:
        model, tokenizer, rows = _prepare(spec, Path(folder))
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    began, used = time.perf_counter(), time.process_time()
    for start in range(0, len(rows), recipe.batch_size):
        batch = rows[start : start + recipe.batch_size]
        ids = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row.input_ids) for row in batch], batch_first=True, padding_value=tokenizer.pad_token_id
        )
        labels = torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row.labels) for row in batch], batch_first=True, padding_value=-100
        )
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
        optimizer.step()
    return _measured("loop", rows, began, used)


def _prepare(spec: TrainingSpec, folder: Path) -> tuple[Any, Any, list[TokenRow]]:
    """The model and the rows in the order that our own training sees them, so that every batch holds the same tokens."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if spec.threads:
        torch.set_num_threads(spec.threads)
    base = Path(spec.base) if spec.base else folder / "fresh"
    if spec.architecture is not None:
        embedded.initialise(base, spec.seed, spec.architecture)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    tokens = tokenise(read_rows(spec.examples, spec.members), tokenizer, spec.recipe)
    order = lay_out(len(tokens), spec.recipe.steps * spec.recipe.rows_per_step, spec.seed)
    return model, tokenizer, [tokens[index] for index in order]


def _measured(what: str, rows: list[TokenRow], began: float, used: float) -> dict[str, Any]:
    seconds = time.perf_counter() - began
    tokens = sum(len(row.input_ids) for row in rows)
    return {
        "what": what,
        "seconds": seconds,
        "cpu_seconds": time.process_time() - used,
        "tokens": tokens,
        "tokens_per_second": tokens / seconds,
    }


if __name__ == "__main__":
    for measure in (loop, run):
        print(json.dumps(measure(sys.argv[1])))
