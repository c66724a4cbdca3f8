"""Who is at work in a home: flows side by side, or one command that takes things out of it, alone.

A flow holds the home's `run.lock` shared for as long as it lasts, so that what it has written and no step names yet is
safe; the system lets it go when the process ends, however it ends.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from storage.errors import StorageFault, UserMistake
from storage.home import Home, writing

WAIT_S = 600.0


@contextmanager
def at_work(home: Home, wait_s: float = WAIT_S) -> Iterator[None]:
    """For a flow: waits while a command has the home alone. Raises StorageFault after `wait_s`."""
    with _lock(home) as descriptor:
        deadline = time.monotonic() + wait_s
        while not _taken(descriptor, fcntl.LOCK_SH):
            if time.monotonic() > deadline:
                raise StorageFault(
                    f"`starloop gc` or `starloop forget` has been at work in {home.root} for over {wait_s:.0f} s; "
                    "wait until it is done, then run the same command again"
                )
            time.sleep(0.1)
        yield


@contextmanager
def alone(home: Home, what: str) -> Iterator[None]:
    """For a command that removes things: nobody else is at work. Raises UserMistake where a flow is."""
    with _lock(home) as descriptor:
        if not _taken(descriptor, fcntl.LOCK_EX):
            raise UserMistake(
                f"a run is under way in {home.root}, and {what} could take away what it has just made; "
                "wait for it or stop it, then run the same command again"
            )
        yield


def anybody_at_work(home: Home) -> bool:
    """Whether a flow, or a command that has the home alone, is in it at this moment; nothing is made."""
    try:
        descriptor = os.open(home.root / "run.lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _taken(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


@contextmanager
def _lock(home: Home) -> Iterator[int]:
    path = home.root / "run.lock"
    with writing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
