"""The model that a training starts from: the base as the recipe wants it held, and the adapter that is trained on it."""

import json
import os
from pathlib import Path
from typing import Any

from storage.errors import TrainingFault
from tasks.training.recipe import Recipe

ADAPTER = "adapter_config.json"


def open_base(base: Path, recipe: Recipe) -> tuple[Any, Any]:
    """The base's tokenizer and model. Full weights are trained in float32 whatever the arithmetic; qlora's are held in NF4.

    Raises TrainingFault where it cannot be opened.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    half = recipe.adapts and recipe.dtype == "bfloat16"
    dtype = torch.bfloat16 if half else torch.float32
    how = _in_four_bits(dtype) if recipe.method == "qlora" else {}
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, **how)
    except (OSError, ValueError, ImportError) as error:
        raise TrainingFault(f"the base {base} cannot be opened: {error}") from error
    if recipe.method == "qlora":
        _prepare(model, recipe)
    if tokenizer.pad_token_id is None:
        # Only ever behind the attention mask; the trainer would choose EOS as well, but say so in the config.
        tokenizer.pad_token = tokenizer.eos_token
    _end_as_the_tokenizer_does(model.generation_config, tokenizer)
    return tokenizer, model


def fresh_adapter(recipe: Recipe) -> Any:
    """The configuration of a new adapter, as peft takes it."""
    from peft import LoraConfig

    everything = recipe.lora_targets == ("all-linear",)
    return LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules="all-linear" if everything else list(recipe.lora_targets),
        task_type="CAUSAL_LM",
    )


def with_adapter(model: Any, folder: Path, recipe: Recipe) -> Any:
    """The model with an adapter of its own to train on. Raises TrainingFault where its sizes are not the recipe's."""
    from peft import PeftModel

    try:
        config = json.loads((folder / ADAPTER).read_text(encoding="utf-8"))
        sizes = (config["r"], config["lora_alpha"])
    except (OSError, ValueError, KeyError) as error:
        raise TrainingFault(f"the adapter {folder} cannot be opened: {error}") from error
    if sizes != (recipe.lora_rank, recipe.lora_alpha):
        raise TrainingFault(
            f"the adapter {folder.name} has rank {sizes[0]} and alpha {sizes[1]}, the recipe {recipe.lora_rank} and "
            f"{recipe.lora_alpha}; set training.lora_rank and training.lora_alpha to the adapter's, or start from its base"
        )
    return PeftModel.from_pretrained(model, folder, is_trainable=True)


def keep_precise(model: Any) -> None:
    """The adapter's weights in float32, whatever the trainer made of them: steps of 1e-4 are lost in bfloat16."""
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()


def size_of(model: Any) -> tuple[int, int]:
    """How many parameters there are and how many of them are trained; those held in 4 bits count whole."""
    weights = list(model.parameters())
    sizes = [
        weight.quant_state.shape.numel() if hasattr(weight, "quant_state") else weight.numel() for weight in weights
    ]
    return sum(sizes), sum(size for size, weight in zip(sizes, weights, strict=True) if weight.requires_grad)


def _in_four_bits(dtype: Any) -> dict[str, Any]:
    """NF4 with double quantisation (Dettmers et al. 2023, section 3), on this process's own device."""
    import torch
    from transformers import BitsAndBytesConfig

    rank = int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    return {"quantization_config": config, "device_map": {"": place}}


def _prepare(model: Any, recipe: Recipe) -> None:
    """What peft says must be done before an adapter is trained on a base in 4 bits."""
    from peft import prepare_model_for_kbit_training

    prepare_model_for_kbit_training(model, use_gradient_checkpointing=recipe.gradient_checkpointing)


def _end_as_the_tokenizer_does(generation: Any, tokenizer: Any) -> None:
    """Greedy and without defaults that would apply unasked; the token that rows end in is one that ends a text."""
    generation.do_sample = False
    generation.temperature = generation.top_p = generation.top_k = None
    stops = generation.eos_token_id
    stops = [stops] if isinstance(stops, int) else list(stops or [])
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in stops:
        stops.append(tokenizer.eos_token_id)
    generation.eos_token_id = stops[0] if len(stops) == 1 else stops
    generation.pad_token_id = tokenizer.pad_token_id
