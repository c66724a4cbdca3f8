"""4-bit weights and adapters beside them, on whatever this machine has: bitsandbytes also works on a CPU."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from storage.errors import EngineFault, UserMistake
from storage.identity import digest
from storage.weights import weights_digest
from tasks.engines.loading import check_loaded, load
from tasks.engines.protocol import Request, Sampling
from tasks.engines.registry import check_options, open_engine
from tasks.engines.transformers import TransformersEngine

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")]

REQUESTS = [Request(digest("four", number), f"{number * 7919 % 10**5:05d}+{number:05d}=") for number in range(30)]
FOUR_BIT = "transformers:quantization=4bit"


def opened(ref: str, folder: Path) -> TransformersEngine:
    engine = open_engine(ref, folder)
    assert isinstance(engine, TransformersEngine)
    return engine


def texts(engine: Any) -> list[str]:
    found = {response.request_id: response.text for response in engine.generate(REQUESTS, Sampling(0, 30))}
    return [found[request.request_id] for request in REQUESTS]


@pytest.fixture(scope="module")
def four_bit(grouped_folder: Path) -> TransformersEngine:
    return opened(FOUR_BIT, grouped_folder)


@pytest.fixture(scope="module")
def four_bit_model(grouped_folder: Path) -> Any:
    """Its weights as they were loaded; some machines pack them in another way at the first forward pass."""
    return load(grouped_folder, None, "cpu", None, "4bit").model


@pytest.fixture(scope="module")
def rounded_folder(four_bit_model: Any, grouped_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model in full precision, with the values that its four bits stand for."""
    from bitsandbytes.functional import dequantize_4bit
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("models") / "rounded"
    shutil.copytree(grouped_folder, folder)
    plain = AutoModelForCausalLM.from_pretrained(grouped_folder, dtype=torch.float32)
    held = dict(four_bit_model.named_parameters())
    for name, parameter in plain.named_parameters():
        if hasattr(held[name], "quant_state"):
            parameter.data = dequantize_4bit(held[name].data, held[name].quant_state)
    plain.save_pretrained(folder)
    return folder


def adapter(folder: Path, base: Path, **changes: Any) -> Path:
    """A LoRA adapter with random weights for the base."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(4)
    settings = {"r": 4, "target_modules": ["q_proj", "down_proj"], "init_lora_weights": False} | changes
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**settings))
    model.save_pretrained(folder)
    said = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(said | {"base_model_name_or_path": str(base)}))
    return folder


def test_it_writes_what_its_rounded_weights_write(
    four_bit: TransformersEngine, rounded_folder: Path, grouped: TransformersEngine, grouped_folder: Path
):
    assert four_bit.name == "transformers float32 nf4"
    assert four_bit.weights_digest == weights_digest(grouped_folder)
    layer = four_bit._model.model.layers[0].mlp.up_proj.weight
    assert (layer.dtype, layer.numel()) == (torch.uint8, 64 * 128 // 2)
    assert texts(four_bit) == texts(opened("transformers", rounded_folder))
    assert texts(four_bit) != texts(grouped)


def test_four_bit_weights_of_another_model_are_a_fault(four_bit_model: Any, grouped_folder: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    check_loaded(grouped_folder, four_bit_model)
    folder = tmp_path / "other"
    shutil.copytree(grouped_folder, folder)
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.1.self_attn.v_proj.weight"
    tensors[name] = tensors[name] + 0.5 * tensors[name].std() * torch.randn(tensors[name].shape)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineFault, match=r"v_proj.*reopen"):
        check_loaded(folder, four_bit_model)


def test_blocks_that_end_within_a_row_are_checked_too(model_folder: Path):
    """Rows of 32 weights, and blocks of 64."""
    assert all(texts(opened(FOUR_BIT, model_folder)))
    model = load(model_folder, None, "cpu", None, "4bit").model
    name = "layers.0.self_attn.q_proj"
    weight = model.model.get_submodule(name).weight
    weight.data[:16] = 255 - weight.data[:16]  # the first row alone
    with pytest.raises(EngineFault, match=name):
        check_loaded(model_folder, model)


def test_an_adapter_is_merged_into_full_precision_and_stays_beside_four_bits(
    four_bit: TransformersEngine, grouped_folder: Path, rounded_folder: Path, tmp_path: Path
):
    beside = opened(FOUR_BIT, adapter(tmp_path / "beside", grouped_folder))
    merged = opened("transformers", adapter(tmp_path / "merged", rounded_folder))
    assert any("lora_A" in name for name, _ in beside._model.named_parameters())
    assert not any("lora_A" in name for name, _ in merged._model.named_parameters())
    assert texts(beside) == texts(merged)
    assert texts(beside) != texts(four_bit)
    assert beside.weights_digest == weights_digest(tmp_path / "beside")
    assert beside._prefixes.apart  # the adapted model takes our attention as well


def test_an_adapter_that_does_not_fit_is_one_sentence(model_folder: Path, grouped_folder: Path, tmp_path: Path):
    folder = adapter(tmp_path / "adapter", grouped_folder)
    said = json.loads((folder / "adapter_config.json").read_text())

    def with_config(**changes: Any) -> None:
        (folder / "adapter_config.json").write_text(json.dumps(said | changes))

    for ref in ("transformers", FOUR_BIT):
        with_config(base_model_name_or_path=str(model_folder))  # of other sizes
        with pytest.raises(UserMistake, match=r"does not fit its base.*size mismatch") as found:
            open_engine(ref, folder)
        assert "\n" not in str(found.value)
    with_config(target_modules=["q_proj"])  # its files have more
    with pytest.raises(UserMistake, match=r"does not fit.*down_proj"):
        open_engine("transformers", folder)
    with_config(target_modules=["q_proj", "down_proj", "up_proj"])  # its files have less
    with pytest.raises(UserMistake, match=r"does not fit.*up_proj"):
        open_engine("transformers", folder)
    with_config(target_modules=["query"])
    with pytest.raises(UserMistake, match=r"does not fit.*query"):
        open_engine("transformers", folder)
    other = {"peft_type": "IA3", "target_modules": ["q_proj"], "feedforward_modules": []}
    said, lora = other | {"base_model_name_or_path": str(grouped_folder)}, said
    with_config()
    with pytest.raises(UserMistake, match=r"does not fit.*IA3"):
        open_engine("transformers", folder)
    said = lora
    with_config(base_model_name_or_path="/nowhere/model")
    with pytest.raises(UserMistake, match="trained on /nowhere/model, which is neither beside it nor a folder"):
        open_engine("transformers", folder)
    with_config(base_model_name_or_path="nobody/no-such-model")
    with pytest.raises(UserMistake, match=r"needs its base.*no model 'nobody/no-such-model'"):
        open_engine("transformers", folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UserMistake, match="does not say which base"):
        open_engine("transformers", folder)


def test_what_is_missing_for_four_bits_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch, model_folder: Path):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(UserMistake, match="pip install bitsandbytes"):
        open_engine(FOUR_BIT, model_folder)
    with pytest.raises(UserMistake, match=r"no quantization '3bit'; give one of: 4bit"):
        check_options("transformers:quantization=3bit")
