"""One at a time makes a result: whoever needs it meanwhile, in this run or in another one in the same home, waits and takes it.

Prefect asks for the lock before it looks for the record, and lets it go once the record is written. The lock is `flock` on
`<home>/locks/<key>`: the system lets it go when its process ends, however it ends.
"""

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from prefect.locking.protocol import LockManager

from storage.home import writing
from tasks.runtime import Runtime


@dataclass(frozen=True, slots=True)
class _Held:
    holder: str
    descriptor: int


class ResultLocks(LockManager):
    """Prefect's seam. A run that is told to stop stops waiting, too."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._folder = runtime.home.root / "locks"
        self._held: dict[str, _Held] = {}

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """Waits for the lock, at most `acquire_timeout` seconds. Raises Cancelled when the run is told to stop."""
        if self.is_lock_holder(key, holder):
            return True
        deadline = None if acquire_timeout is None else time.monotonic() + acquire_timeout
        pause = 0.002
        while (descriptor := _locked(self._folder / key)) is None:
            self._runtime.check_cancelled()
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, 0.2)
        self._held[key] = _Held(holder, descriptor)
        return True

    def release_lock(self, key: str, holder: str) -> None:
        """Lets it go. The file goes first, so that nobody can lock one that has no name any more and be taken in by it."""
        if self.is_lock_holder(key, holder):
            (self._folder / key).unlink(missing_ok=True)
            os.close(self._held.pop(key).descriptor)

    def is_locked(self, key: str) -> bool:
        return key in self._held

    def is_lock_holder(self, key: str, holder: str) -> bool:
        held = self._held.get(key)
        return held is not None and held.holder == holder

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """True at once: a record appears whole, so reading one needs no lock."""
        return True

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        return self.acquire_lock(key, holder, acquire_timeout, hold_timeout)

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        return True


def _locked(path: Path) -> int | None:
    """The descriptor of the file at `path`, locked, or None while somebody else has it."""
    with writing(path):
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass  # held, or its holder has just removed it: there is a new file to lock, or none
    os.close(descriptor)
    return None
