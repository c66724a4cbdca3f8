"""A model that somebody else made, as a checkpoint of this home: a folder, or a name on the hub.

Its weights (safetensors), configuration and tokenizer are copied under `checkpoints/`, so that what a loop started from
stays what it was. Code that comes with a model is left behind. Not covered: adapters; merge one into its base first.
"""

import contextlib
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from storage.checkpoints import file_digests
from storage.errors import UserMistake
from storage.home import sync_file, sync_folder, writing
from storage.identity import canonical_json
from storage.manifest import Accounting, Output
from storage.records import Checkpoint
from storage.weights import weights_digest
from tasks.caching import cached_task
from tasks.checkpoints import keep, names_in
from tasks.engines.folders import ADAPTER, folder_of
from tasks.runtime import Runtime

TAKEN = frozenset({".json", ".jinja", ".model", ".safetensors", ".tiktoken", ".txt"})
"""Endings of the files that are taken."""


@dataclass(frozen=True, slots=True)
class Found:
    """A model where it lies. `source` is what the ledger says; `files` are names with size and time of change.

    The files stand in for their content in the cache key, so that a large model is not read on every run.
    """

    source: str
    folder: Path
    files: tuple[tuple[str, int, int], ...]

    def canonical(self) -> object:
        return {"source": self.source, "files": [list(one) for one in self.files]}


def find(source: str) -> Found:
    """The model that a folder or a hub name stands for, downloaded if need be.

    Raises UserMistake for what is no model, or one that a loop cannot start from.
    """
    folder = folder_of(source)
    if (folder / ADAPTER).is_file():
        raise UserMistake(f"{source} is an adapter; merge it into its base (peft's merge_and_unload) and give that")
    found = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in TAKEN)
    if not any(path.suffix == ".safetensors" for path in found):
        raise UserMistake(
            f"{source} holds no safetensors, the only weights that are read; save the model as safetensors"
        )
    state = [path.stat() for path in found]
    name = str(folder.absolute()) if Path(source).is_dir() else f"{source.partition('@')[0]}@{folder.name}"
    return Found(name, folder, tuple((p.name, s.st_size, s.st_mtime_ns) for p, s in zip(found, state, strict=True)))


@cached_task("take in")
def take_in(model: Found, runtime: Runtime) -> Output:
    """The model as a checkpoint without parent or training, under the name of what it was taken from."""
    made = runtime.home.trainings / f"taken-{uuid.uuid4().hex}"
    try:
        with writing(made):
            made.mkdir(parents=True)
            for name, _, _ in model.files:
                runtime.check_cancelled()
                _copy(model.folder / name, made / name)
            sync_folder(made)
        files = file_digests(made)
        checkpoint = Checkpoint(
            checkpoint_id=Checkpoint.identity(files, None),
            kind="full",
            weights_digest=weights_digest(made),
            files=canonical_json(files),
            parent_id=None,
            training_id=None,
            source=model.source,
        )
        place = runtime.home.checkpoints / checkpoint.checkpoint_id
        keep(made, place, files)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return Output(
        {"checkpoint": runtime.shards.write("checkpoint", [checkpoint])},
        Accounting(asked=1, ok=1),
        {
            "checkpoint_id": checkpoint.checkpoint_id,
            "weights_digest": checkpoint.weights_digest,
            "kind": "full",
            "files": names_in(place),
        },
    )


def _copy(source: Path, place: Path) -> None:
    """A copy; of what lies in the hub's cache, which nobody changes in place, a hard link where there can be one."""
    if source.is_symlink():
        with contextlib.suppress(OSError):
            os.link(source.resolve(), place)
            return
    shutil.copyfile(source, place)
    sync_file(place)
