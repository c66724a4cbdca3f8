"""One zygote for all trainings, and mixes written as the store writes them."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pyarrow
import pyarrow.parquet
import pytest

from storage.records import Example
from tasks.processes import Processes
from tasks.training.embedded import Architecture
from tasks.training.recipe import Recipe
from tasks.training.spec import TrainingSpec

TINY = Architecture(hidden=32, layers=2, heads=2, mlp=64)
RECIPE = Recipe(steps=24, batch_size=16, learning_rate=3e-3, warmup_steps=2, max_length=64)


@pytest.fixture(scope="session")
def processes(tmp_path_factory) -> Iterator[Processes]:
    with Processes(tmp_path_factory.mktemp("logs")) as running:
        yield running


def sums(count: int) -> list[Example]:
    draw = Random(0)
    pairs = [(draw.randrange(1000), draw.randrange(1000)) for _ in range(count)]
    return [Example.of(f"{a:04d}+{b:04d}=", f"A{a + b:05d}") for a, b in pairs]


def write_examples(path: Path, examples: list[Example]) -> str:
    by_id = {example.example_id: example for example in examples}
    table = {
        "example_id": pyarrow.array([uuid.UUID(name).bytes for name in by_id], pyarrow.uuid()),
        "prompt": [example.prompt for example in by_id.values()],
        "completion": [example.completion for example in by_id.values()],
    }
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    return str(path)


def write_members(path: Path, examples: list[Example], *, positions=None, weights=None) -> str:
    table = {
        "position": positions or list(range(len(examples))),
        "example_id": pyarrow.array([uuid.UUID(example.example_id).bytes for example in examples], pyarrow.uuid()),
        "role": ["corpus"] * len(examples),
        "weight": weights or [1.0] * len(examples),
    }
    schema = pyarrow.schema(
        [
            ("position", pyarrow.int64()),
            ("example_id", pyarrow.uuid()),
            ("role", pyarrow.string()),
            ("weight", pyarrow.float64()),
        ]
    )
    pyarrow.parquet.write_table(pyarrow.table(table, schema=schema), path)
    return str(path)


def write_pairs(path: Path, pairs: list[tuple[Example, Example]], **columns) -> str:
    """Members of pairs: the chosen side, then the rejected one."""
    sides = [side for pair in pairs for side in pair]
    table = {
        "position": list(range(len(sides))),
        "example_id": pyarrow.array([uuid.UUID(side.example_id).bytes for side in sides], pyarrow.uuid()),
        "role": ["chosen", "rejected"] * len(pairs),
        "pair": [number for number in range(len(pairs)) for _ in range(2)],
        "weight": [1.0] * len(sides),
    } | columns  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.table(table), path)
    return str(path)


@pytest.fixture(scope="session")
def spec(tmp_path_factory) -> Callable[..., TrainingSpec]:
    """A spec for 200 sums on fresh tiny weights, each in a folder of its own; keywords replace its fields."""

    def make(examples: list[Example] | None = None, **changes) -> TrainingSpec:
        folder = tmp_path_factory.mktemp("training")
        rows = sums(200) if examples is None else examples
        plain = TrainingSpec(
            base=None,
            examples=(write_examples(folder / "examples.parquet", rows),),
            members=(write_members(folder / "members.parquet", rows),),
            recipe=RECIPE,
            seed=7,
            out=str(folder / "model"),
            work=str(folder / "work"),
            threads=1,
            architecture=TINY,
        )
        return replace(plain, **changes)

    return make


@pytest.fixture(scope="session")
def train(processes, tmp_path_factory) -> Callable[..., dict]:
    """Runs a spec in a child and gives back its result."""

    def run(spec: TrainingSpec, progress=None) -> dict:
        path = spec.write(Path(spec.out).parent / "spec.json")
        return processes.call(
            f"{spec.recipe.trainer}:run",
            str(path),
            log=Path(spec.out).parent / "training.log",
            threads=spec.threads,
            progress=progress,
        )

    return run


@pytest.fixture(scope="session")
def trained(spec, train) -> tuple[TrainingSpec, dict]:
    """One undisturbed training that many tests look at."""
    plain = spec()
    return plain, train(plain)
