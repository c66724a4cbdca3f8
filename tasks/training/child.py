"""What a training process does around its trainer, whichever that is: a spec file in, a model folder out.

The folder appears whole or not at all (temporary name, fsync, rename), and holds only the model: weights as safetensors,
config, generation config and the tokenizer's files as the base had them. Asked again for a folder that is there, the
result of the first time is given back. A training that was killed goes on from its last complete trainer checkpoint; on
a CPU with the same number of threads the weights come out bitwise the same.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storage.errors import TrainingFault
from storage.faults import reached
from storage.identity import digest
from tasks.training import embedded, ranks
from tasks.training.digests import file_digests, weights_digest
from tasks.training.recipe import VALUE, Recipe
from tasks.training.saving import publish, save
from tasks.training.spec import TrainingResult, TrainingSpec

REPORT_EVERY = 10
"""Steps between two progress reports."""

Progress = Callable[[dict[str, Any]], None]
Train = Callable[[TrainingSpec, Path, float, Progress], TrainingResult | None]
"""The spec, the folder for what a resume needs, when the process began, and who hears of the progress; None in all but the
first of a training's processes.
"""


def carry_out(spec_path: str, train: Train, progress: Progress | None) -> dict[str, Any]:
    """Trains what the spec file says and gives back the `TrainingResult` as plain JSON values.

    Raises TrainingFault when there is nothing to learn, when the loss stops being a number, or when the base or the
    shards cannot be read; the folder `out` then does not exist.
    """
    started = time.perf_counter()
    spec = TrainingSpec.read(spec_path)
    reached("training-start")
    if (finished := _finished(spec)) is not None:
        return finished.plain() | {"startup_s": time.perf_counter() - started, "work_s": 0.0}
    work = Path(spec.work)
    work.mkdir(parents=True, exist_ok=True)
    tell = progress or (lambda message: None)
    if spec.recipe.processes > ranks.world():
        ranks.launch(spec_path, spec, tell)
        if (made := _finished(spec)) is None:
            raise TrainingFault(f"the processes of the training ended and left no checkpoint in {spec.out}; run again")
        shutil.rmtree(work, ignore_errors=True)
        return made.plain()
    result = train(spec, work, started, tell)
    reached("checkpoint-after-rename")
    if ranks.world() == 1:
        shutil.rmtree(work, ignore_errors=True)
    return result.plain() if result else {}


def set_threads(spec: TrainingSpec) -> None:
    """As many as the spec says, shared among the processes of a training."""
    import torch

    if spec.threads:
        torch.set_num_threads(max(1, spec.threads // ranks.world()))


def base_folder(spec: TrainingSpec, work: Path) -> Path:
    """The base's folder; fresh weights are made in `work`."""
    if spec.base is not None:
        if not (Path(spec.base) / "config.json").is_file():
            raise TrainingFault(f"the base {spec.base} is no model folder: it has no config.json")
        return Path(spec.base)
    assert spec.architecture is not None  # the spec's own check
    folder = work / "fresh"
    embedded.initialise(folder, spec.seed, spec.architecture)
    return folder


@contextmanager
def first_of_all() -> Iterator[None]:
    """The first process of a training does what is inside before the others do: it clears what they then find cleared."""
    from accelerate import PartialState

    if ranks.world() == 1:
        yield
        return
    with PartialState().main_process_first():
        yield


def training_digest(spec: TrainingSpec, base: Path, rows: Sequence[str]) -> str:
    """What a trainer checkpoint must have been made from to be gone on with; `rows` are the ids of the examples in order."""
    adapter = [file_digests(Path(spec.adapter))] if spec.adapter else []
    return digest(file_digests(base), *adapter, spec.recipe.canonical(), spec.seed, spec.threads, list(rows))


def check_fed(fed: tuple[int, int, int], plan: tuple[int, int, int], broken_at: int | None) -> None:
    """Raises TrainingFault unless the trainer was fed exactly the planned rows and tokens."""
    if broken_at is not None:
        raise TrainingFault(
            f"the loss was not a number any more at step {broken_at}; lower the learning rate or raise warmup_steps"
        )
    if fed != plan:
        raise TrainingFault(f"the trainer was fed (rows, tokens, tokens with loss) {fed} where {plan} were planned")


def published(
    model: Any,
    tokenizer: Any,
    base: Path,
    spec: TrainingSpec,
    result_of: Callable[[str, dict[str, str]], TrainingResult],
) -> TrainingResult:
    """Writes the checkpoint's folder with its result, which is made from the weights' digest and the files' digests."""
    temporary = Path(f"{spec.out}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    save(model, tokenizer, base, temporary, spec.recipe)
    reached("checkpoint-before-result")
    result = result_of(weights_digest(temporary), file_digests(temporary))
    publish(temporary, result, spec)
    return result


def kind_of(recipe: Recipe) -> str:
    """What a training leaves: full weights, an adapter, or a value model."""
    return VALUE if recipe.objective == VALUE else "adapter" if recipe.adapts else "full"


def _finished(spec: TrainingSpec) -> TrainingResult | None:
    """The result of an earlier run of this spec, if its folder is there and is what the result says."""
    out = Path(spec.out)
    if not out.is_dir():
        return None
    try:
        result = TrainingResult.of(json.loads(spec.result_path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        result = None
    if result is not None and file_digests(out) == result.files:
        return result
    shutil.rmtree(out)
    return None
