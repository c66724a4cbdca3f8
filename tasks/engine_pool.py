"""Engine processes, at most `workers` at a time, each holding one checkpoint; a phase with another checkpoint replaces them.

Memory of the old checkpoint is given back for sure, because its process ends. An engine that asks a server holds nothing: it
stays here, and all threads share it, so that what it allows at a time holds for all of them together.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.engine_process import EngineProcess
from tasks.engines.protocol import Engine
from tasks.engines.registry import is_served, open_engine
from tasks.processes import Processes


class EnginePool:
    """Hands out engines to task threads; one thread at a time has each of the processes."""

    def __init__(self, processes: Processes, workers: int, threads: int) -> None:
        self._processes = processes
        self._slots = threading.BoundedSemaphore(workers)
        self._threads = max(1, threads // workers)
        self._lock = threading.Lock()
        self._idle: list[tuple[str, Path, EngineProcess]] = []
        self._in_turns: list[tuple[str, Path]] = []
        self._opening = threading.Lock()
        self._served: dict[tuple[str, Path], Engine] = {}

    @contextmanager
    def lease(self, ref: str, model: Path) -> Iterator[tuple[Engine, float]]:
        """An engine with this model, and the seconds it took to start (0 if it was idle).

        A process that fails while leased is closed; the next lease starts a fresh one.
        """
        if is_served(ref):
            yield self._shared(ref, model), 0.0
            return
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

    @contextmanager
    def in_turns(self, *pairs: tuple[str, Path]) -> Iterator[None]:
        """While inside, leasing one of these engines and models does not end the others: they are asked in turns."""
        with self._lock:
            self._in_turns += pairs
        try:
            yield
        finally:
            with self._lock:
                for pair in pairs:
                    self._in_turns.remove(pair)

    def close(self) -> None:
        """End the idle engines, so that a fine-tune has the memory."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, _, engine in idle:
            engine.close()

    def end(self) -> None:
        """End the idle engines, and whatever servers are still asked."""
        self.close()
        with self._opening:
            served, self._served = self._served, {}
        for engine in served.values():
            engine.close()

    def _shared(self, ref: str, model: Path) -> Engine:
        with self._opening:
            if (ref, model) not in self._served:
                self._served[ref, model] = open_engine(ref, model)
            return self._served[ref, model]

    def _take(self, ref: str, model: Path) -> EngineProcess | None:
        with self._lock:
            fitting = [entry for entry in self._idle if entry[:2] == (ref, model)]
            if fitting:
                self._idle.remove(fitting[0])
                return fitting[0][2]
            kept = self._in_turns if (ref, model) in self._in_turns else []
            others = [entry for entry in self._idle if entry[:2] not in kept]
            self._idle = [entry for entry in self._idle if entry[:2] in kept]
        for _, _, engine in others:
            engine.close()
        return None
