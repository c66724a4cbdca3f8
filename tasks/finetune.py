"""Fine-tune: a checkpoint from a base and a training set, in a process of its own.

The key holds content only (base, examples, members, recipe, seed, the trainer's code), never the evidence for the
examples: a verifier that changed without changing an outcome retrains nothing.
"""

import json
import shutil
from pathlib import Path

from storage.identity import canonical_json, digest
from storage.manifest import Accounting, Manifest, Output
from storage.records import Checkpoint, Training
from storage.weights import weights_digest
from tasks.caching import cached_task, startup_took
from tasks.ingredients import trainer_code
from tasks.runtime import Runtime
from tasks.training.embedded import Architecture
from tasks.training.recipe import Recipe
from tasks.training.spec import TrainingResult, TrainingSpec


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
) -> Output:
    """Trains on the mix and keeps the checkpoint; without a base, fresh weights of `architecture` from `seed`.

    Raises TrainingFault when the preflight finds nothing to learn or the process fails; what it had saved is resumed from.
    """
    settings = canonical_json(
        {"recipe": recipe.canonical(), "architecture": architecture and architecture_json(architecture)}
    )
    code = digest(trainer_code(recipe))
    training_id = Training.identity(base_checkpoint_id, mix_id, settings, seed, code)
    work = runtime.home.root / "trainings" / training_id
    spec = TrainingSpec(
        base=str(runtime.home.checkpoints / base_checkpoint_id) if base_checkpoint_id else None,
        examples=shard_paths(examples, runtime),
        members=shard_paths(members, runtime),
        recipe=recipe,
        seed=seed,
        out=str(work / "model"),
        work=str(work / "trainer"),
        threads=runtime.threads,
        architecture=architecture,
    )
    path = spec.write(work / "spec.json")
    runtime.engines.close()
    result = TrainingResult.of(
        runtime.processes.call(
            "tasks.training.sft:run",
            str(path),
            log=runtime.home.logs / f"training-{training_id}.log",
            threads=runtime.threads,
            progress=lambda report: runtime.progress.advance("fine-tune", int(report["step"]), int(report["steps"])),
        )
    )
    startup_took(result.startup_s)
    checkpoint = Checkpoint(
        checkpoint_id=Checkpoint.identity(result.files, base_checkpoint_id if result.kind == "adapter" else None),
        kind=result.kind,
        weights_digest=result.weights_digest,
        files=canonical_json(result.files),
        parent_id=base_checkpoint_id,
        training_id=training_id,
    )
    keep(work / "model", runtime.home.checkpoints / checkpoint.checkpoint_id)
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
    output = Output(
        {
            "training": runtime.shards.write("training", [training]),
            "checkpoint": runtime.shards.write("checkpoint", [checkpoint]),
        },
        Accounting(asked=result.rows, ok=result.rows),
        {
            "checkpoint_id": checkpoint.checkpoint_id,
            "weights_digest": result.weights_digest,
            "kind": result.kind,
            "training_id": training_id,
            "steps": result.steps,
            "rows_seen": result.rows_seen,
            "tokens_seen": result.tokens_seen,
            "tokens_trained": result.tokens_trained,
            "final_loss": result.final_loss,
            "losses": [round(loss, 5) for loss in result.losses],
            "parameters": result.parameters,
            "trainable_parameters": result.trainable_parameters,
        },
    )
    shutil.rmtree(work, ignore_errors=True)
    return output


def shard_paths(manifest: Manifest, runtime: Runtime) -> tuple[str, ...]:
    """The files of a manifest, in order: what a training process reads."""
    return tuple(str(runtime.shards.path(manifest.table, digest)) for digest in manifest.shards)


def architecture_json(architecture: Architecture) -> dict[str, object]:
    """An architecture as plain JSON."""
    return json.loads(canonical_json({name: getattr(architecture, name) for name in architecture.__slots__}))


def keep(made: Path, place: Path) -> None:
    """Move a finished checkpoint to the place its content names; the same content twice is one folder."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        made.rename(place)
    elif weights_digest(place) != weights_digest(made):
        shutil.rmtree(place)
        made.rename(place)
