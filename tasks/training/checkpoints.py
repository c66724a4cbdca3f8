"""A trainer's own checkpoints, to resume from after a kill: trusted only when complete and undamaged.

The trainer saves in place, so a folder's existence says nothing. `seal` is called after the trainer's last file and
writes `complete.json` (temporary name, fsync, rename) with every file's digest; `newest` accepts only what agrees.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from storage.home import sync_file, sync_folder

_SEAL = "complete.json"


@dataclass(frozen=True, slots=True)
class Resumable:
    """A complete trainer checkpoint: the step it was saved after and the loss of every step up to it."""

    folder: Path
    step: int
    losses: list[float]


def seal(folder: Path, step: int, losses: list[float], training: str) -> None:
    """Marks a trainer checkpoint as complete; `training` is the digest of what is being trained."""
    files = {path.name: _digest(path) for path in sorted(folder.iterdir()) if path.is_file() and path.name != _SEAL}
    for name in files:
        sync_file(folder / name)
    document = {"training": training, "step": step, "losses": losses, "files": files}
    temporary = folder / f"{_SEAL}.tmp"
    temporary.write_text(json.dumps(document), encoding="utf-8")
    sync_file(temporary)
    temporary.rename(folder / _SEAL)
    sync_folder(folder)


def newest(work: Path, training: str) -> Resumable | None:
    """The last complete checkpoint of this training in `work`; everything else found there is removed."""
    found: Resumable | None = None
    for folder in sorted(work.glob("checkpoint-*"), key=_step, reverse=True):
        if found is None and (found := _opened(folder, training)) is not None:
            continue
        shutil.rmtree(folder)
    return found


def _opened(folder: Path, training: str) -> Resumable | None:
    try:
        document = json.loads((folder / _SEAL).read_text(encoding="utf-8"))
        state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        agrees = (
            document["training"] == training
            and document["step"] == state["global_step"] == len(document["losses"])
            and all(_digest(folder / name) == digest for name, digest in document["files"].items())
        )
        return Resumable(folder, document["step"], document["losses"]) if agrees else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # half-written or damaged: not a checkpoint


def _step(folder: Path) -> int:
    text = folder.name.rpartition("-")[2]
    return int(text) if text.isdigit() else -1


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
