"""What a task works with and no result depends on: the home, the child processes, progress, and the word to stop."""

import threading
from pathlib import Path
from typing import Protocol

from storage.errors import StarloopError
from storage.home import Home
from storage.shards import Shards
from storage.tombstones import Tombstones
from tasks.engine_pool import EnginePool
from tasks.judgements import Means
from tasks.processes import Processes
from tasks.verifier_pool import VerifierPool


class Cancelled(StarloopError):
    """The run was told to stop; what was finished is kept."""


class Progress(Protocol):
    """Who is told how a step comes along. Called from task threads."""

    def advance(self, step: str, done: int, total: int) -> None: ...

    def said(self, text: str) -> None: ...


class Silent:
    """Tells nobody."""

    def advance(self, step: str, done: int, total: int) -> None:
        del step, done, total

    def said(self, text: str) -> None:
        del text


class Runtime:
    """One run's means. Passed to every task as `runtime`; never part of a key."""

    def __init__(
        self, home: Home, processes: Processes, *, workers: int = 1, threads: int = 1, progress: Progress | None = None
    ) -> None:
        self.home = home
        self.shards = Shards(home)
        self.tombstones = Tombstones.of(home)
        self.processes = processes
        self.threads = threads
        self.engines = EnginePool(processes, workers, threads)
        self.judging = Means(VerifierPool(processes.logs), self.engines)
        self.progress: Progress = progress or Silent()
        self.cancelled = threading.Event()
        self._said: set[str] = set()
        self.leftovers: dict[str, list[Path]] = {}
        """By task run: what its work needed and its result does not. Removed once the result is on the disk."""

    def say_once(self, text: str) -> None:
        """Say this, if the run has not said it yet."""
        if text not in self._said:
            self._said.add(text)
            self.progress.said(text)

    def check_cancelled(self) -> None:
        """Raises Cancelled once the run was told to stop; tasks call it between cells and batches."""
        if self.cancelled.is_set():
            raise Cancelled("the run was stopped; what was finished is kept, and the same command goes on from there")

    def cancel(self) -> None:
        """Stop every task at its next look, and every child process now."""
        self.cancelled.set()
        self.judging.workers.cancel()
        self.engines.end()
        self.processes.cancel()

    def close(self) -> None:
        """End what the tasks may have left: idle engines, lines to servers, and the processes that verify."""
        self.engines.end()
        self.judging.workers.close()
