"""Small random models in folders, opened once: they end their texts at odd places, which is what batches must cope with."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.engines.registry import open_engine
from tasks.engines.transformers import TransformersEngine
from tasks.training.embedded import Architecture, initialise


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of a model this small wait for each other longer than they compute."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    initialise(folder, 3, Architecture(hidden=32, layers=2, heads=4, mlp=64, positions=96))
    return folder


@pytest.fixture(scope="session")
def engine(model_folder: Path) -> TransformersEngine:
    opened = open_engine("transformers", model_folder)
    assert isinstance(opened, TransformersEngine)
    return opened


@pytest.fixture(scope="session")
def grouped_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama whose heads share keys, with room for a long prompt, and widths that four-bit blocks of 64 fit."""
    import torch
    from transformers import AutoConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("grouped")
    initialise(folder, 3, Architecture(hidden=64, layers=3, heads=4, mlp=128, positions=256))
    config = AutoConfig.from_pretrained(folder)
    config.num_key_value_heads = 2
    torch.manual_seed(7)
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        parameter.data *= 3  # a random model is otherwise so sure of nothing that rounding decides
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def grouped(grouped_folder: Path) -> TransformersEngine:
    opened = open_engine("transformers", grouped_folder)
    assert isinstance(opened, TransformersEngine)
    return opened
