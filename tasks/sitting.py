"""One sitting of a cached task: how long it took, what it found there already, and what nobody needs once its result is kept.

The functions are called by what a task calls, wherever that is; outside a task they count nothing.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path


class Sitting:
    """Its seconds, startup (a process, a model being loaded) apart from work; rows found already; what it leaves behind."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self.startup_s = 0.0
        self.reused = 0
        self.leftovers: list[Path] = []

    def elapsed(self) -> float:
        return time.monotonic() - self._begun


_sitting: ContextVar[Sitting | None] = ContextVar("sitting", default=None)


@contextmanager
def sitting() -> Iterator[Sitting]:
    """A task's body runs in it."""
    begun = Sitting()
    token = _sitting.set(begun)
    try:
        yield begun
    finally:
        _sitting.reset(token)


def startup_took(seconds: float) -> None:
    """This much of the task's time was startup."""
    if now := _sitting.get():
        now.startup_s += seconds


def found_already(rows: int) -> None:
    """So many of the task's rows were there before, in the ledger or in a journal."""
    if now := _sitting.get():
        now.reused += rows


def done_with(path: Path) -> None:
    """Nobody needs this file or folder once the task's result is on the disk.

    Until then it stays, so that a kill before that costs none of the work that it holds.
    """
    if now := _sitting.get():
        now.leftovers.append(path)
    else:
        remove(path)


def remove(path: Path) -> None:
    """A file or a folder with all it holds, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
