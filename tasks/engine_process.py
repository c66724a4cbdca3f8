"""An engine in a process of its own, as the run sees it: questions over a connection, answers in the order they finish."""

import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from storage.errors import EngineFault, StarloopError
from tasks.engines import worker
from tasks.engines.protocol import Request, Response, Sampling
from tasks.engines.scoring import Scored

if TYPE_CHECKING:
    from tasks.processes import Processes


class EngineProcess:
    """An engine in another process. `startup_s` is what passed from asking for it until it could generate.

    One conversation at a time: `generate` must be exhausted or closed before the next call.
    """

    def __init__(
        self, processes: "Processes", number: int, connection: Connection, log: Path, asked: float, opening: worker.Open
    ) -> None:
        self._processes = processes
        self._number = number
        self._connection = connection
        self._log = log
        self._open = True
        try:
            self._send(opening)
            opened = self._receive()
            if not isinstance(opened, worker.Opened):
                raise EngineFault(f"the engine's process answered {opened!r} when asked to open {opening.ref}")
        except BaseException:
            self.close()
            raise
        self.name = opened.name
        self.weights_digest = opened.weights_digest
        self.batched = opened.batched
        self.startup_s = time.perf_counter() - asked

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[Response]:
        """One response for every request, in the order they finish; an EngineFault if the process dies on the way."""
        self._send(worker.Generate(list(requests), sampling))
        done = False
        try:
            while not done:
                match self._receive():
                    case worker.Batch(responses):
                        yield from responses
                    case worker.Done():
                        done = True
                    case other:
                        raise EngineFault(f"the engine's process answered {other!r} when asked to generate")
        finally:
            if not done:  # left early: what is still under way would be taken for the next answer
                self.close()

    def log_likelihoods(self, texts: Sequence[tuple[str, str]]) -> list[Scored]:
        """How likely the model finds each completion after its prompt; an EngineFault from an engine that cannot say."""
        self._send(worker.Score(list(texts)))
        answer = self._receive()
        if not isinstance(answer, worker.Scores):
            raise EngineFault(f"the engine's process answered {answer!r} when asked how likely texts are")
        return answer.found

    def close(self) -> None:
        """Ends the process; its memory is given back."""
        if self._open:
            self._open = False
            self._connection.close()
            self._processes.kill(self._number)
            self._processes.forget(self._number)

    def _send(self, message: worker.Open | worker.Generate | worker.Score) -> None:
        if not self._open:
            raise EngineFault("the engine's process has been closed")
        try:
            self._connection.send(message)
        except OSError:
            raise self._dead() from None

    def _receive(self) -> object:
        """The next answer. A fault that the worker tells about is raised."""
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                raise self._dead() from None
            match message:
                case {"began": _}:
                    continue
                case worker.Fault():
                    raise message.error()
                case _:
                    return message

    def _dead(self) -> StarloopError:
        error = self._processes.death(self._number, "the engine", self._log, EngineFault)
        self.close()
        return error
