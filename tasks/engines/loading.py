"""Opening a model's files: precision, device, 4-bit weights and adapters, each checked against what the files say.

An adapter is added into the weights, so that decoding costs nothing more. On a 4-bit base it is kept apart: rounding it to
the base's sixteen levels a weight would lose most of it.
"""

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import EngineFault, UserMistake
from tasks.engines.folders import base_of

DTYPES = ("bfloat16", "float16", "float32")
QUANTIZATIONS = ("4bit",)
NF4_BLOCK = 64
"""So many weights share a scale."""
NF4_ERROR = 0.22
"""A weight and its four bits differ by less than this share of its block's scale, or of the mean scale if that is larger: levels
are 0.304 of it apart at most, and the scale itself is kept in eight bits, as its distance from the mean."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model on its device, ready to be asked; `precision` is what its numbers are: `float32`, `bfloat16 nf4`."""

    model: Any
    tokenizer: Any
    precision: str


def load(
    folder: Path, dtype: str | None, device: str | None, attention: str | None, quantization: str | None
) -> Loaded:
    """The causal language model, or adapter, of a folder.

    Raises UserMistake for what cannot be opened here, and EngineFault when the loaded weights are not the files'.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    place = device_of(device)
    number = dtype_of(dtype, place)
    base = base_of(folder)
    how: dict[str, Any] = {}
    if quantization is not None:
        how = {"quantization_config": _four_bit(number), "device_map": {"": place}}
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
        opened: Any = AutoModelForCausalLM.from_pretrained(
            base, dtype=getattr(torch, number), attn_implementation=attention, trust_remote_code=False,
            use_safetensors=True, output_loading_info=True, **how,
        )  # fmt: skip
    except (OSError, ValueError, ImportError) as mistake:
        reason = str(mistake).splitlines()[0]
        raise UserMistake(f"{base} cannot be opened as a causal language model: {reason}") from mistake
    model, loading = opened
    if strange := sorted({str(key) for kind in ("missing_keys", "mismatched_keys") for key in loading[kind]}):
        raise UserMistake(f"{base} lacks weights that its configuration asks for: {', '.join(strange[:3])}")
    check_loaded(base, model)
    if base != folder:
        model = _with_adapter(model, folder, base, merge=quantization is None)
    if quantization is None:
        model = model.to(place)
    return Loaded(model.eval(), tokenizer, number if quantization is None else f"{number} nf4")


def device_of(asked: str | None) -> Any:
    """The device that is asked for, or the first GPU, or the CPU; UserMistake names those there are."""
    import torch

    try:
        device = torch.device(asked or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
        if device.type == "meta":
            raise RuntimeError("it holds no numbers")
    except (RuntimeError, AssertionError) as mistake:
        there = ", ".join(["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))])
        reason = str(mistake).splitlines()[0]
        raise UserMistake(f"device {asked!r} cannot be used here ({reason}); this machine has: {there}") from mistake
    return device


def dtype_of(asked: str | None, device: Any) -> str:
    """float32 on a CPU, where lower precisions are mostly emulated; on a GPU bfloat16 if it has it, else float16."""
    import torch

    if asked is not None or device.type != "cuda":
        return asked or "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


def _four_bit(number: str) -> Any:
    """NormalFloat of four bits in blocks of 64, their scales in eight (Dettmers et al., QLoRA, 2023, section 3)."""
    import torch
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserMistake("quantization=4bit needs bitsandbytes, which is not installed; pip install bitsandbytes")
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, number),
    )  # fmt: skip


def _with_adapter(model: Any, folder: Path, base: Path, *, merge: bool) -> Any:
    """The model with a LoRA adapter: its weights added to the model's own, or beside them in the same layers."""
    import warnings

    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found missing adapter keys")  # they are checked below, and are an error
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")  # peft's to mend
            adapted: Any = PeftModel.from_pretrained(model, folder)
        _check_adapter(folder, adapted)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError) as mistake:
        reason = " ".join(str(mistake).split())
        raise UserMistake(f"the adapter {folder} does not fit its base {base}: {reason:.300}") from mistake
    return adapted.merge_and_unload() if merge else adapted.get_base_model()


def _check_adapter(folder: Path, adapted: Any) -> None:
    """Raises ValueError unless the adapter's tensors in the model are just those in its files."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    if (kind := str(adapted.peft_config["default"].peft_type.value)) != "LORA":
        raise ValueError(f"it is a {kind} adapter, and only LORA can be opened")
    loaded = get_peft_model_state_dict(adapted)
    stored = {name: one for file in sorted(folder.glob("*.safetensors")) for name, one in load_file(file).items()}
    # Some files hold whole layers of the base as well (embeddings), which have been put in the base's place.
    stored = {name: one for name, one in stored.items() if name in loaded or "lora_" in name}
    if strange := sorted(loaded.keys() ^ stored.keys()):
        raise ValueError(f"{len(strange)} of its tensors and the base's layers do not correspond, such as {strange[0]}")
    for name, tensor in stored.items():
        if not torch.equal(tensor.to(loaded[name].dtype), loaded[name].cpu()):
            raise ValueError(f"the model holds another {name} than its file")


def check_loaded(folder: Path, model: Any) -> None:
    """Raises EngineFault where the first row of a loaded tensor is not what its file says: weight sync is checked, not hoped.

    Of 4-bit weights, where the first blocks are further from the file's than four bits explain.
    """
    import torch
    from safetensors import safe_open

    loaded = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as stored:
            for name in stored.keys():  # noqa: SIM118 - safe_open is no mapping
                if name not in loaded or not stored.get_slice(name).get_shape():
                    continue
                tensor = loaded[name]
                if hasattr(tensor, "quant_state"):
                    turned = getattr(model.get_submodule(name.rpartition(".")[0]), "source_cls", None) is _conv()
                    same = _rounded(stored.get_tensor(name).T if turned else stored.get_slice(name), tensor)
                else:
                    same = torch.equal(stored.get_slice(name)[:1].to(tensor.dtype), tensor[:1].cpu())
                if not same:
                    raise EngineFault(f"the engine holds another {name} than {file}; reopen it")


def _rounded(said: Any, loaded: Any) -> bool:
    """Whether the first whole blocks of a 4-bit weight are these, rounded; a row need not be a multiple of a block."""
    import torch
    from bitsandbytes.functional import dequantize_4bit

    state = loaded.quant_state
    rows = NF4_BLOCK // math.gcd(NF4_BLOCK, state.shape[1])
    first = said[:rows].float().flatten()
    held = dequantize_4bit(loaded.data, state)[:rows].float().cpu().flatten()
    if first.shape != held.shape:
        return False
    filling = -len(first) % NF4_BLOCK
    blocks, off = (
        torch.nn.functional.pad(numbers.abs(), (0, filling)).view(-1, NF4_BLOCK).amax(-1)
        for numbers in (first, held - first)
    )
    scale = blocks if state.offset is None else blocks.clamp(min=float(state.offset))
    return bool((off <= NF4_ERROR * scale).all())


def _conv() -> type:
    """GPT-2's linear layer, whose weights bitsandbytes turns around."""
    from transformers.pytorch_utils import Conv1D

    return Conv1D
