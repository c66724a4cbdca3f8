"""Engine processes, at most `workers` at a time, each holding one checkpoint; a phase with another checkpoint replaces them.

Memory of the old checkpoint is given back for sure, because its process ends.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.processes import EngineProcess, Processes


class EnginePool:
    """Hands out engine processes to task threads; one thread at a time has each of them."""

    def __init__(self, processes: Processes, workers: int, threads: int) -> None:
        self._processes = processes
        self._slots = threading.BoundedSemaphore(workers)
        self._threads = max(1, threads // workers)
        self._lock = threading.Lock()
        self._idle: list[tuple[str, Path, EngineProcess]] = []

    @contextmanager
    def lease(self, ref: str, model: Path) -> Iterator[tuple[EngineProcess, float]]:
        """An engine with this model, and the seconds it took to start (0 if it was idle).

        One that fails while leased is closed; the next lease starts a fresh one.
        """
        with self._slots:
            engine = self._take(ref, model)
            took = 0.0
            if engine is None:
                engine = self._processes.engine(ref, model, threads=self._threads)
                took = engine.startup_s
            try:
                yield engine, took
            except BaseException:
                engine.close()
                raise
            with self._lock:
                self._idle.append((ref, model, engine))

    def close(self) -> None:
        """End the idle engines: before a fine-tune, so that it has the memory, and at the end."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, _, engine in idle:
            engine.close()

    def _take(self, ref: str, model: Path) -> EngineProcess | None:
        with self._lock:
            fitting = [entry for entry in self._idle if entry[:2] == (ref, model)]
            others = [entry for entry in self._idle if entry[:2] != (ref, model)]
            if fitting:
                self._idle.remove(fitting[0])
                return fitting[0][2]
            self._idle = []
        for _, _, engine in others:
            engine.close()
        return None
