"""A small random model in a folder, opened once: it ends its texts at odd places, which is what batches must cope with."""

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
