"""From a trained model to a folder that is a checkpoint: complete or absent, and the same bytes wherever it was made."""

import json
import shutil
from pathlib import Path
from typing import Any

from storage.faults import reached
from storage.home import sync_file, sync_folder
from tasks.training.recipe import Recipe
from tasks.training.spec import TrainingResult, TrainingSpec

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
    "tokenizer.model", "spiece.model", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
"""Copied from the base byte for byte: saving a tokenizer again can change its files, and so the checkpoint's identity."""


def save(model: Any, tokenizer: Any, base: Path, folder: Path, recipe: Recipe) -> None:
    """Weights (or the adapter), config and generation config as the model has them, the tokenizer as the base had it."""
    import torch

    if recipe.adapts:
        _save_adapter(model, base, folder)
    else:
        if recipe.dtype == "bfloat16":
            model.to(torch.bfloat16)
            model.config.dtype = "bfloat16"
        model.save_pretrained(folder)
    copied = [name for name in TOKENIZER_FILES if (base / name).is_file()]
    for name in copied:
        shutil.copyfile(base / name, folder / name)
    if not copied:
        tokenizer.save_pretrained(folder)


def _save_adapter(model: Any, base: Path, folder: Path) -> None:
    """The adapter alone, its config made independent of where the base lay and of the order of Python's sets."""
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base.name
    for name in ("target_modules", "exclude_modules", "modules_to_save"):
        if isinstance(config.get(name), list):
            config[name] = sorted(config[name])
    path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    model.get_base_model().generation_config.save_pretrained(folder)


def publish(temporary: Path, result: TrainingResult, spec: TrainingSpec) -> None:
    """First the result, then the folder, so that a folder that is there always has its result."""
    for path in temporary.iterdir():
        sync_file(path)
    sync_folder(temporary)
    beside = Path(f"{spec.result_path}.tmp")
    beside.write_text(json.dumps(result.plain()), encoding="utf-8")
    sync_file(beside)
    beside.rename(spec.result_path)
    reached("checkpoint-before-rename")
    temporary.rename(spec.out)
    sync_folder(Path(spec.out).parent)
