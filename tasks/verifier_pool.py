"""Worker processes for verifiers that may hang, crash or take all memory: each such verdict is undecided, and the rest goes on.

    with VerifierPool(home.logs) as pool:
        for attempt, judgements in pool.judge("math", rows): ...      # in the order of the rows

Any number of threads may ask at the same time; they share the workers. One zygote of their own (see `tasks.zygote`), which
has imported what verifiers need and no torch, forks the workers, so that a worker that was killed is replaced in
milliseconds. It is started with the first row that needs it.
"""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from storage.errors import StarloopError, VerifierFault
from storage.records import Attempt, Problem
from tasks.processes import Processes
from tasks.verifiers import worker
from tasks.verifiers.judging import OUT_OF_MEMORY
from tasks.verifiers.protocol import Judgement

Row = tuple[Attempt, Problem]

CHUNK = 32
"""Rows a worker is given at once."""

RECYCLED_AFTER = 20_000
"""Rows after which a worker is replaced anyway: what its libraries cache is then given back."""

STARTUP_S = 120.0

STOPPED = "the verifiers' processes were stopped; the same command goes on from what was finished"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one verdict may take. `cpu_s` counts computing alone; `wall_s` ends what sleeps; `memory_mb` is a worker's growth."""

    cpu_s: float = 3.0
    wall_s: float = 30.0
    memory_mb: int = 1024


class VerifierPool:
    """The workers of one run, at most `workers` at a time. `replaced` counts those that ended under a row."""

    def __init__(self, logs: Path, workers: int | None = None, limits: Limits | None = None) -> None:
        self.workers = workers or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else [0, 1])
        self.limits = limits or Limits()
        self.replaced = 0
        self._processes = Processes(logs, preload=("verifying",))
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._idle: list[_Worker] = []
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def judge(self, ref: str, rows: Iterable[Row]) -> Iterator[tuple[Attempt, list[Judgement]]]:
        """Every attempt with its judgements, in order. Raises VerifierFault where no worker can be had or the pool was cancelled."""
        source = iter(rows)
        under_way: deque[tuple[list[Row], Future[list[list[Judgement]]]]] = deque()
        try:
            while True:
                while len(under_way) < 2 * self.workers and (chunk := list(islice(source, CHUNK))):
                    under_way.append((chunk, self._executor().submit(self._judge, ref, chunk)))
                if not under_way:
                    return
                chunk, future = under_way.popleft()
                for (attempt, _), judgements in zip(chunk, future.result(), strict=True):
                    yield attempt, judgements
        finally:
            for _, future in under_way:
                future.cancel()

    def cancel(self) -> None:
        """Kills every worker now, and lets no other start; who waits for a verdict gets a VerifierFault."""
        self._processes.cancel()

    def close(self) -> None:
        """Ends the workers and their zygote; what is under way is cut off."""
        with self._lock:
            self._closed = True
            threads, self._threads = self._threads, None
        self._processes.cancel()
        if threads is not None:
            threads.shutdown(cancel_futures=True)
        self._processes.close()

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._closed:
                raise VerifierFault("the verifiers' processes have been closed")
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="verifying")
            return self._threads

    def _judge(self, ref: str, rows: Sequence[Row]) -> list[list[Judgement]]:
        """The judgements on a chunk, by as many workers as it takes.

        A row under which a worker dies gets a fresh one and a second chance, for it need not have been the row's doing;
        one that ran out of time does not.
        """
        done: list[list[Judgement]] = []
        again = False
        while len(done) < len(rows):
            one = self._take(fresh=again)
            try:
                for judgements in one.judge(ref, rows[len(done) :]):
                    done.append(judgements)
                    again = False
            except _Died as death:
                one.end()
                with self._lock:
                    self.replaced += 1
                if again or death.final:
                    done.append([Judgement(None, reason=death.reason)])
                again = not (again or death.final)
            except BaseException:
                one.end()
                raise
            else:
                self._give_back(one)
        return done

    def _take(self, fresh: bool) -> "_Worker":
        if not fresh:
            with self._lock:
                if self._idle:
                    return self._idle.pop()
        return _Worker(self._processes, self.limits)

    def _give_back(self, one: "_Worker") -> None:
        with self._lock:
            if not self._closed and one.judged < RECYCLED_AFTER and len(self._idle) < self.workers:
                self._idle.append(one)
                return
        one.end()


class _Died(Exception):
    """A worker's end under a row. `final`: another worker would do no better."""

    def __init__(self, reason: str, final: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


class _Worker:
    """One process, for one thread at a time."""

    def __init__(self, processes: Processes, limits: Limits) -> None:
        self.judged = 0
        self._processes = processes
        self._limits = limits
        self._log = processes.logs / f"verifying-{os.getpid()}.log"
        arguments = (sys.path, limits.cpu_s, limits.memory_mb)
        try:
            self._number, self._connection = processes.spawn(
                "tasks.verifiers.worker:serve", arguments, self._log, 1, needs="verifying", serves=True
            )
        except StarloopError:
            raise VerifierFault(STOPPED) from None
        if not self._connection.poll(STARTUP_S) or self._answer() is None:
            fault = processes.death(self._number, "the verifiers", self._log, VerifierFault)
            self.end()
            raise VerifierFault(STOPPED) if processes.cancelled.is_set() else fault

    def judge(self, ref: str, rows: Sequence[Row]) -> Iterator[list[Judgement]]:
        """The judgements on each row. Raises _Died, which concerns the row after the last that was judged."""
        try:
            self._connection.send(worker.Rows(ref, rows))
        except OSError:
            raise self._died() from None
        for _ in rows:
            if not self._connection.poll(self._limits.wall_s):
                raise _Died(f"the verifier timed out after {self._limits.wall_s:g} s", final=True)
            match self._answer():
                case None:
                    raise self._died()
                case worker.Fault(sentence):
                    raise VerifierFault(sentence)
                case list() as judgements:
                    if any(one.reason == OUT_OF_MEMORY for one in judgements):
                        raise _Died(OUT_OF_MEMORY, final=self.judged == 0)
                    self.judged += 1
                    yield judgements

    def end(self) -> None:
        self._connection.close()
        self._processes.kill(self._number)
        self._processes.forget(self._number)

    def _answer(self) -> Any:
        """The next message; None if the process is gone."""
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            return None

    def _died(self) -> _Died:
        status = self._processes.status(self._number)
        if self._processes.cancelled.is_set():
            raise VerifierFault(STOPPED)
        if status is not None and -status == signal.SIGPROF:
            return _Died(f"the verifier timed out after computing for {self._limits.cpu_s:g} s", final=True)
        return _Died(f"the verifier's process {ending(status)}", final=False)


def ending(status: int | None) -> str:
    """How a process ended, in words."""
    if status is None:
        return "ended"
    if status >= 0:
        return f"exited with status {status}"
    return f"was killed by {signal.Signals(-status).name}"
