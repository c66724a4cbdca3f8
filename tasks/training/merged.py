"""An adapter put into its base: whole weights, as a model folder that anything opens.

    merge("checkpoints/77ab…", "checkpoints/9b1c…", "merged")      # {"weights_digest": "5f0c…", "parameters": 134515008}

Added up in float32 and kept in the base's own dtype. A base that was held in 4 bits for training is taken whole here: the sum is
then not exactly the model that was trained.
"""

import shutil
from pathlib import Path
from typing import Any

from storage.errors import UserMistake
from storage.home import sync_folder
from storage.weights import weights_digest
from tasks.training.saving import TOKENIZER_FILES


def merge(adapter: str, base: str, out: str) -> dict[str, Any]:
    """Write the merged model to `out`, which appears whole or not at all; raises UserMistake where something is there."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = Path(out)
    if folder.exists():
        raise UserMistake(f"{out} is there already; name a folder that is not")
    dtype = AutoModelForCausalLM.from_pretrained(base, dtype="auto").dtype
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    whole = PeftModel.from_pretrained(model, adapter).merge_and_unload().to(dtype)
    whole.config.dtype = str(dtype).removeprefix("torch.")
    making = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(making, ignore_errors=True)
    whole.save_pretrained(making)
    for name in TOKENIZER_FILES:
        if (Path(base) / name).is_file():
            shutil.copyfile(Path(base) / name, making / name)
    digest = weights_digest(making)
    making.rename(folder)
    sync_folder(folder.absolute().parent)
    return {"weights_digest": digest, "parameters": whole.num_parameters()}
