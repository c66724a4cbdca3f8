"""How much a batch may hold, and how running out of memory is told from other errors.

On a CPU only an allocation that the system refuses can be noticed; where it promises more than it has, the process is
killed instead, which is why the cache has a limit of its own there.
"""

import gc
from typing import Any

CACHE_BYTES = 1 << 30
"""On a CPU the cache of a batch may grow to this; on a GPU to half of the memory that is free."""
CPU_ALLOCATOR = "DefaultCPUAllocator"
"""In the message of torch's error when the system refuses memory; it has no class of its own."""


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there was not enough memory."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and CPU_ALLOCATOR in str(error)
    )


def most_tokens(model: Any) -> int:
    """How many tokens the cache of a batch may hold."""
    import torch

    device = model.device
    most = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else CACHE_BYTES
    return most // cache_bytes_per_token(model)


def cache_bytes_per_token(model: Any) -> int:
    """Keys and values of one token in all layers."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return max(1, 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize)


def give_back() -> None:
    """What nobody holds any more goes back to the device."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
