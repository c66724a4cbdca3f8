"""A GGUF file as an ordinary model folder: every block of it multiplied out, once, in a process of its own.

    dequantise("…/SmolLM2-135M-Instruct.Q4_1.gguf", "…/taken")    # {"parameters": 134515008, "chat": True}

In float32: a 4-bit block is scale * step + least, which float32 holds as the file means it and bfloat16 would round. So the
same file gives the same weights, bit by bit, and a checkpoint of four bytes a parameter. Not covered: what transformers'
reader does not know, files in several parts, and the tensors of a vision tower.
"""

import importlib.metadata
from pathlib import Path
from typing import Any

from storage.errors import UserMistake

ENDING = ".gguf"
INSTALL = "pip install gguf"


def dequantise(file: str, folder: str) -> dict[str, Any]:
    """Write weights, configuration, tokenizer and chat template; raises UserMistake for a file that cannot be read so."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    path = Path(file)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        model: Any = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
    except ImportError as mistake:
        raise UserMistake(f"{path.name} is a GGUF file, and reading it needs the package gguf; {INSTALL}") from mistake
    except (OSError, ValueError, KeyError, NotImplementedError) as mistake:
        raise UserMistake(f"{file} cannot be read as a GGUF model: {mistake}") from mistake
    if tokenizer.eos_token_id is None:
        raise UserMistake(f"{file} names no token that ends a text, so nobody could tell where an answer is over")
    model.hf_quantizer = None  # it is whole now, and may be saved as such
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {"parameters": model.num_parameters(), "chat": bool(tokenizer.chat_template)}


def readers() -> dict[str, str]:
    """The libraries that decide what a file becomes, with their versions."""
    found: dict[str, str] = {}
    for name in ("gguf", "transformers"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = ""
    return found
