"""Checkpoint folders under `<home>/checkpoints`: how one gets there, and whether it is still whole."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from storage.checkpoints import file_digests
from storage.errors import StarloopError
from storage.faults import reached
from storage.home import sync_folder, writing


def keep(made: Path, place: Path, files: Mapping[str, str]) -> None:
    """Move a finished checkpoint to the place its content names; the same content twice is one folder.

    One that is there but is not what `files` (name to digest) says, for whatever reason, is replaced.
    """
    if is_whole(place, files):
        return
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        reached("checkpoint-before-keep")
        try:
            made.rename(place)
        except OSError:
            if not is_whole(place, files):  # else another process came to the same content at this moment
                raise
        sync_folder(place.parent)
        reached("checkpoint-after-keep")


def is_whole(place: Path, files: Mapping[str, str]) -> bool:
    """Whether the folder holds exactly these contents; reads all of it. What cannot be read is not whole."""
    try:
        return file_digests(place) == files
    except (OSError, StarloopError):
        return False


def names_in(place: Path) -> list[str]:
    """The names of a checkpoint's files, as its task's record keeps them."""
    return sorted(path.name for path in place.iterdir() if path.is_file())


def missing(place: Path, names: Iterable[str]) -> list[str]:
    """What is gone: the folder, or those of the recorded files that are not there; costs no reading."""
    if not place.is_dir():
        return ["the folder"]
    return [name for name in names if not (place / name).is_file()]
