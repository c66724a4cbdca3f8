"""An engine in a process of its own: a loop that answers over a connection until it is told to close.

    parent → Open(ref, model)               child → Opened(name, weights_digest, batched)  or Fault
    parent → Generate(requests, sampling)   child → Batch(responses) …, then Done() or Fault
    parent → Score(texts)                   child → Scores(found)  or Fault
    parent → Close()                        child → Done(), and the loop ends

One engine at a time: a second Open closes the first, which gives its memory back only as far as the library does; a
process per checkpoint is the sure way. A broken connection ends the loop, so a child does not outlive its parent's interest.
"""

import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection
from pathlib import Path

from storage.errors import EngineFault, StarloopError, UserMistake
from storage.faults import reached
from tasks.engines.protocol import Engine, Request, Response, Sampling, Scorer
from tasks.engines.registry import open_engine
from tasks.engines.scoring import Scored

BATCH_ROWS = 256
BATCH_SECONDS = 0.5
"""Responses are sent on as soon as so many are there, or so long after the last were sent."""


@dataclass(frozen=True, slots=True)
class Open:
    ref: str
    model: Path | str | None


@dataclass(frozen=True, slots=True)
class Opened:
    name: str
    weights_digest: str | None
    batched: bool


@dataclass(frozen=True, slots=True)
class Generate:
    requests: Sequence[Request]
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Batch:
    responses: list[Response]


@dataclass(frozen=True, slots=True)
class Score:
    """Pairs of a prompt and a completion."""

    texts: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Scores:
    found: list[Scored]


@dataclass(frozen=True, slots=True)
class Done:
    """The last answer to Generate or Close."""


@dataclass(frozen=True, slots=True)
class Close:
    """The parent needs no more."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong, as data: `sentence` for people; `mistake` is true when the caller's arguments were at fault."""

    sentence: str
    mistake: bool = False

    def error(self) -> StarloopError:
        """The exception that this is on the parent's side."""
        return UserMistake(self.sentence) if self.mistake else EngineFault(self.sentence)


def serve_at(address: str, authkey: bytes) -> None:
    """`serve` over a connection to the listener at `address` (a Unix socket's path)."""
    with Client(address, authkey=authkey) as connection:
        serve(connection)


def serve(connection: "Connection[object, object]") -> None:
    """Answers requests until Close, or until the other end is gone."""
    engine: Engine | None = None
    try:
        while True:
            try:
                asked = connection.recv()
            except (EOFError, ConnectionResetError):
                return
            try:
                match asked:
                    case Open():
                        if engine is not None:
                            engine.close()
                            engine = None
                        engine = open_engine(asked.ref, asked.model)
                        connection.send(Opened(engine.name, engine.weights_digest, engine.batched))
                    case Generate():
                        if engine is None:
                            raise EngineFault("no engine is open in this process; send Open first")
                        # What a server wrote may have been paid for: none of it waits here for the next.
                        rows = BATCH_ROWS if engine.weights_digest else 1
                        for responses in in_batches(engine.generate(asked.requests, asked.sampling), rows):
                            connection.send(Batch(responses))
                        connection.send(Done())
                    case Score():
                        if not isinstance(engine, Scorer):
                            raise EngineFault("the engine in this process cannot say how likely a text is")
                        connection.send(Scores(engine.log_likelihoods(asked.texts)))
                    case Close():
                        connection.send(Done())
                        return
                    case _:
                        raise EngineFault(f"an engine process cannot answer a {type(asked).__name__}")
            except (BrokenPipeError, ConnectionResetError):
                return
            except StarloopError as error:
                connection.send(Fault(str(error), isinstance(error, UserMistake)))
            except Exception as error:  # noqa: BLE001 - whatever an engine raises is an answer, with its cause in the log
                traceback.print_exc()
                connection.send(Fault(f"the engine failed with {type(error).__name__}: {error}"))
    finally:
        if engine is not None:
            engine.close()


def in_batches(responses: Iterable[Response], rows: int = BATCH_ROWS) -> Iterator[list[Response]]:
    """The responses in order, gathered so that neither each one nor only the last one is sent; `rows` at most."""
    batch: list[Response] = []
    sent = time.monotonic()
    for response in responses:
        batch.append(response)
        reached("engine-response")
        if len(batch) >= rows or time.monotonic() - sent >= BATCH_SECONDS:
            yield batch
            batch, sent = [], time.monotonic()
    if batch:
        yield batch
