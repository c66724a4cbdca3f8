"""Where an export goes: all of it is there or none of it, and nothing is overwritten unless asked."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from storage.errors import UserMistake
from storage.home import removed_on_failure, sync_folder, temporary_beside, writing

DATASET_FILES = {"dataset_info.json", "state.json"}
"""What tells a folder that `datasets` saved from any other; only such a folder is ever replaced."""


@contextmanager
def new_file(path: Path, force: bool) -> Iterator[Path]:
    """A temporary file beside `path`, put in its place once the block has written it. Raises UserMistake if that is taken."""
    _check(path, force)
    if path.is_dir():
        raise UserMistake(f"{path} is a folder; give the name of a file")
    temporary = temporary_beside(path)
    with writing(path), removed_on_failure(temporary):
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)


@contextmanager
def new_folder(path: Path, force: bool) -> Iterator[Path]:
    """As `new_file`, a folder. With `force` it replaces an empty one, or one that `datasets` has saved, and no other."""
    _check(path, force)
    if path.exists() and not (path.is_dir() and _replaceable(path)):
        raise UserMistake(f"{path} is no folder that `datasets` has saved, so it is not replaced; give another name")
    temporary = temporary_beside(path)
    with writing(path):
        try:
            temporary.mkdir()
            yield temporary
            if path.exists():
                old = temporary_beside(path)
                os.replace(path, old)
                os.replace(temporary, path)
                shutil.rmtree(old)
            else:
                os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def required(module: str, package: str) -> None:
    """Raises UserMistake with the command that installs `package`, unless its `module` can be imported."""
    try:
        found = find_spec(module)
    except ImportError:
        found = None
    if found is None:
        raise UserMistake(
            f"this export needs {package.partition('[')[0]}, which is not installed; pip install '{package}'"
        )


def _check(path: Path, force: bool) -> None:
    if not path.parent.is_dir():
        raise UserMistake(f"there is no folder {path.parent} to write {path.name} into; make it first")
    if path.exists() and not force:
        raise UserMistake(f"{path} is there already; --force replaces it")


def _replaceable(folder: Path) -> bool:
    names = {entry.name for entry in folder.iterdir()}
    return not names or names >= DATASET_FILES
