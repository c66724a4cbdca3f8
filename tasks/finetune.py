"""Fine-tune: a checkpoint from a base and a training set, in a process of its own.

The key holds content only (base, examples, members, recipe, seed, the trainer's code), never the evidence for the
examples: a verifier that changed without changing an outcome retrains nothing.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from storage.database import held
from storage.errors import StorageBusy
from storage.home import atomic_write, writing
from storage.identity import canonical_json, digest
from storage.manifest import Accounting, Manifest, Output
from storage.records import Checkpoint, Training
from tasks.caching import cached_task
from tasks.checkpoints import is_whole, keep, names_in
from tasks.ingredients import trainer_code
from tasks.prompts.chat import Chat
from tasks.runtime import Runtime
from tasks.sitting import startup_took
from tasks.training.embedded import Architecture
from tasks.training.recipe import Recipe
from tasks.training.spec import TrainingResult, TrainingSpec

LOOK_EVERY_S = 1.0
"""Seconds between two looks at whether the run was stopped, while another process trains the same."""


@cached_task("fine-tune", recipe=trainer_code)
def finetune(
    base_checkpoint_id: str | None,
    architecture: Architecture | None,
    examples: Manifest,
    members: Manifest,
    mix_id: str,
    recipe: Recipe,
    seed: int,
    runtime: Runtime,
    adapter_of: str | None = None,
    chat: Chat | None = None,
) -> Output:
    """Trains on the mix and keeps the checkpoint; without a base, fresh weights of `architecture` from `seed`.

    `adapter_of` says that the base is an adapter of that checkpoint, which is trained on; what comes of it is one of the same.
    `chat` is what the prompts were rendered with.

    Raises TrainingFault when the preflight finds nothing to learn or the process fails; what it had saved is resumed from.
    Two runs that come to the same training do it once: the second waits and takes what the first made.
    """
    settings = canonical_json(
        {"recipe": recipe.canonical(), "architecture": architecture and architecture_json(architecture)}
    )
    code = digest(trainer_code(recipe))
    training_id = Training.identity(base_checkpoint_id, mix_id, settings, seed, code)
    parent = adapter_of or base_checkpoint_id
    with alone(training_id, runtime):
        result = finished(training_id, parent, runtime)
        if result is None:
            work = runtime.home.trainings / training_id
            spec = TrainingSpec(
                base=str(runtime.home.checkpoints / parent) if parent else None,
                examples=shard_paths(examples, runtime),
                members=shard_paths(members, runtime),
                recipe=recipe,
                seed=seed,
                out=str(work / "model"),
                work=str(work / "trainer"),
                threads=runtime.threads,
                architecture=architecture,
                adapter=str(runtime.home.checkpoints / str(base_checkpoint_id)) if adapter_of else None,
                chat=chat.template if chat else None,
            )
            result = train(spec, training_id, runtime)
            place = runtime.home.checkpoints / checkpoint_of(result, parent)
            # The record first: it counts from the moment that its checkpoint is there, so a kill between the two costs nothing.
            atomic_write(record_of(training_id, runtime), json.dumps(result.plain()).encode())
            keep(Path(spec.out), place, result.files)
            shutil.rmtree(work, ignore_errors=True)
    startup_took(result.startup_s)
    checkpoint = Checkpoint(
        checkpoint_id=checkpoint_of(result, parent),
        kind=result.kind,
        weights_digest=result.weights_digest,
        files=canonical_json(result.files),
        parent_id=parent,
        training_id=training_id,
    )
    training = Training(
        training_id,
        base_checkpoint_id,
        mix_id,
        settings,
        seed,
        code,
        result.steps,
        result.rows_seen,
        result.tokens_seen,
        result.tokens_trained,
        result.final_loss,
    )
    place = runtime.home.checkpoints / checkpoint.checkpoint_id
    return Output(
        {
            "training": runtime.shards.write("training", [training]),
            "checkpoint": runtime.shards.write("checkpoint", [checkpoint]),
        },
        Accounting(asked=result.rows, ok=result.rows),
        {
            "checkpoint_id": checkpoint.checkpoint_id,
            "weights_digest": result.weights_digest,
            "kind": result.kind,
            "files": names_in(place),
            "training_id": training_id,
            "steps": result.steps,
            "rows_seen": result.rows_seen,
            "tokens_seen": result.tokens_seen,
            "tokens_trained": result.tokens_trained,
            "final_loss": result.final_loss,
            "losses": [round(loss, 5) for loss in result.losses],
            "parameters": result.parameters,
            "trainable_parameters": result.trainable_parameters,
            **({"preference": result.preference} if result.preference else {}),
        },
    )


def shard_paths(manifest: Manifest, runtime: Runtime) -> tuple[str, ...]:
    """The files of a manifest, in order: what a training process reads."""
    return tuple(str(runtime.shards.path(manifest.table, digest)) for digest in manifest.shards)


def architecture_json(architecture: Architecture) -> dict[str, object]:
    """An architecture as plain JSON."""
    return json.loads(canonical_json({name: getattr(architecture, name) for name in architecture.__slots__}))


@contextmanager
def alone(training_id: str, runtime: Runtime) -> Iterator[None]:
    """Holds a training against every other process and thread; waits for as long as another is at it."""
    lock = runtime.home.trainings / f"{training_id}.lock"
    with writing(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        while True:
            runtime.check_cancelled()
            with suppress(StorageBusy):
                stack.enter_context(held(lock, LOOK_EVERY_S, f"training {training_id}"))
                break
        yield


def train(spec: TrainingSpec, training_id: str, runtime: Runtime) -> TrainingResult:
    """The training in its process; idle engines are ended before, so that it has their memory."""
    with writing(runtime.home.trainings):
        path = spec.write(runtime.home.trainings / training_id / "spec.json")
    runtime.engines.close()
    answer = runtime.processes.call(
        f"{spec.recipe.trainer}:run",
        str(path),
        log=runtime.home.logs / f"training-{training_id}.log",
        threads=runtime.threads,
        progress=lambda report: runtime.progress.advance("fine-tune", int(report["step"]), int(report["steps"])),
    )
    return TrainingResult.of(answer)


def finished(training_id: str, parent_id: str | None, runtime: Runtime) -> TrainingResult | None:
    """What this training came to, if another run of it has finished and its checkpoint is whole."""
    try:
        result = TrainingResult.of(json.loads(record_of(training_id, runtime).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    place = runtime.home.checkpoints / checkpoint_of(result, parent_id)
    return replace(result, startup_s=0.0) if is_whole(place, result.files) else None


def record_of(training_id: str, runtime: Runtime) -> Path:
    """Where the result of a finished training stands, for others that were about to do the same."""
    return runtime.home.trainings / f"{training_id}.json"


def checkpoint_of(result: TrainingResult, parent_id: str | None) -> str:
    """The id of the checkpoint that a training made."""
    return Checkpoint.identity(result.files, parent_id if result.kind == "adapter" else None)
