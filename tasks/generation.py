"""Attempts for one cell: what is already stored is copied, what a killed run had finished is read from its journal, and
only the rest is asked of the engine.

Every finished response is appended to the cell's journal (fsynced at least once a second) before anything else
happens to it, so a kill costs the requests in flight. A model in a process of our own is asked for the whole cell again:
beside other rows its numbers can differ in the last bits, and a resumed run is to be the same as an undisturbed one.

A response that failed is transient unless its engine says that it is
final: the cell keeps its rows in the journal and fails; a resume asks only for those, and after `MAX_ATTEMPTS` they are
final, stored and counted as failed.

What was forgotten is not asked for, and a text that was forgotten is not kept when it comes again: its place is held by an attempt
without text, counted as failed.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from storage.errors import EngineFault
from storage.faults import reached
from storage.home import writing
from storage.identity import digest
from storage.lineage import Lineage, stored_attempts
from storage.records import Attempt, Problem, Prompt
from storage.tombstones import REQUEST, WHY, Tombstones
from tasks.engines.protocol import FAILED, Request, Response, Sampling
from tasks.engines.registry import prices
from tasks.ingredients import engine_code
from tasks.runtime import Runtime
from tasks.sitting import done_with, found_already, startup_took

MAX_ATTEMPTS = 3
"""How often a failing request is asked before its failure is final."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One attempt to be made."""

    problem: Problem
    prompt: Prompt
    sample_index: int


@dataclass(frozen=True, slots=True)
class Model:
    """Who writes: an engine ref with the checkpoint it must have loaded, by the digest of its weights (None: whatever it has)."""

    engine: str
    checkpoint_id: str
    weights_digest: str | None


def generate(
    asked: Sequence[Asked], model: Model, sampling: Sampling, seed: int, step: str, runtime: Runtime
) -> list[Attempt]:
    """One attempt for everything asked, in that order.

    Greedy decoding has no randomness, so it is the same request under every seed. Raises EngineFault when the engine holds
    other weights than the checkpoint's, or when requests failed and may succeed on another try.
    """
    if not asked:
        return []
    with runtime.engines.lease(model.engine, runtime.home.checkpoints / model.checkpoint_id) as (engine, startup_s):
        startup_took(startup_s)
        if engine.weights_digest is None:
            runtime.say_once(
                f"{engine.name} is a server, and nobody can check that it holds the step's checkpoint; "
                "its texts are recorded as written by that name"
            )
        elif engine.weights_digest != model.weights_digest:
            raise EngineFault(
                f"the engine {engine.name} holds weights {engine.weights_digest}, the step's checkpoint has "
                f"{model.weights_digest}; its folder was changed, restore it or start again from its parent"
            )
        requests = requests_of(asked, model, engine.name, sampling, seed)
        ids = [request.request_id for request in requests]
        writer = f"{engine.name}{version_of(model.engine)}"
        done = {key: _response(row) for key, row in stored_attempts(runtime.home, ids, writer).items()}
        problems = {key: one.problem for key, one in zip(ids, asked, strict=True)}
        barred = _barred(problems, runtime.tombstones)
        journal = journal_of(runtime, writer, ids)
        kept = journal.finished()
        if engine.batched and not all(key in done or key in barred or key in journal.answered for key in ids):
            # A pass that was cut off: what it had left to ask would now be written in other batches, and round differently.
            journal.remove()
        else:
            done |= kept
        found_already(len(done))
        done |= barred
        missing = [request for request in requests if request.request_id not in done]
        if missing:
            with journal, _all_of(engine.generate(missing, sampling)) as responses:
                for count, response in enumerate(responses, start=1):
                    if runtime.tombstones.bar_text(problems[response.request_id], response.text):
                        done[response.request_id] = _forgotten(response.request_id)
                        continue
                    reached("journal-before-append")
                    journal.append(response)
                    reached("journal-after-append")
                    if response.decided or journal.failures[response.request_id] >= MAX_ATTEMPTS:
                        done[response.request_id] = response
                    runtime.progress.advance(step, len(ids) - len(missing) + count, len(ids))
                    runtime.check_cancelled()
    still_missing = [key for key in ids if key not in done]
    if still_missing:
        raise EngineFault(
            f"{len(still_missing)} of {len(ids)} requests of '{step}' failed ({journal.last_error}); the others are kept, "
            "and running again asks only for these"
        )
    return [attempt_of(one, done[key], model, writer, sampling, seed) for key, one in zip(ids, asked, strict=True)]


def requests_of(asked: Sequence[Asked], model: Model, engine_name: str, sampling: Sampling, seed: int) -> list[Request]:
    """What the engine is sent for everything asked, in that order: the id that seeds its randomness, and the prompt."""
    how, seed = sampling.text, drawn_with(sampling, seed)
    return [
        Request(
            Attempt.request(
                one.problem.problem_id, one.prompt.text, model.checkpoint_id, engine_name, how, one.sample_index, seed
            ),
            one.prompt.text,
        )
        for one in asked
    ]


def drawn_with(sampling: Sampling, seed: int) -> int:
    """The seed that an attempt depends on: none where nothing is drawn."""
    return seed if sampling.temperature > 0 else 0


def attempt_of(one: Asked, response: Response, model: Model, writer: str, sampling: Sampling, seed: int) -> Attempt:
    """The row that a response becomes."""
    return Attempt(
        attempt_id=Attempt.identity(response.request_id, writer, response.text, response.finish_reason),
        request_id=response.request_id,
        problem_id=one.problem.problem_id,
        prompt_id=one.prompt.prompt_id,
        checkpoint_id=model.checkpoint_id,
        engine=writer,
        sampling=sampling.text,
        sample_index=one.sample_index,
        seed=drawn_with(sampling, seed),
        text=response.text,
        finish_reason=response.finish_reason,
        prompt_tokens=response.prompt_tokens,
        tokens=response.tokens,
        logprob=response.logprob,
        error=response.error,
    )


def spent(attempts: Sequence[Attempt], engine: str) -> dict[str, object]:
    """A cell's facts: its tokens and characters, how many texts nobody counted (if any), and what it cost where that is known."""
    uncounted = sum(one.tokens is None or one.prompt_tokens is None for one in attempts)
    prompt_tokens, tokens = (sum(getattr(one, name) or 0 for one in attempts) for name in ("prompt_tokens", "tokens"))
    facts: dict[str, object] = {
        "tokens": tokens,
        "prompt_tokens": prompt_tokens,
        "characters": sum(len(one.text) for one in attempts),
    }
    if uncounted:
        facts["uncounted"] = uncounted
    if price := prices(engine):
        facts["cost"] = price.cost(prompt_tokens, tokens)
    return facts


@contextmanager
def _all_of(responses: Iterator[Response]) -> Iterator[Iterator[Response]]:
    """The responses; left early, nothing more is asked of the engine."""
    try:
        yield responses
    finally:
        if isinstance(responses, Generator):
            responses.close()


def _barred(problems: Mapping[str, Problem], tombstones: Tombstones) -> dict[str, Response]:
    """The requests that are not asked, each with what stands in its place."""
    if not tombstones:
        return {}
    barred = (key for key, one in problems.items() if tombstones.has(REQUEST, key) or tombstones.bar_problem(one))
    return {key: _forgotten(key) for key in barred}


def _forgotten(request_id: str) -> Response:
    return Response(request_id, "", FAILED, 0, 0, error=WHY)


def seal(attempts: Sequence[Attempt], runtime: Runtime) -> None:
    """Let go of the cell's journal: its rows are in a shard now."""
    if attempts:
        done_with(journal_of(runtime, attempts[0].engine, [attempt.request_id for attempt in attempts]).path)


def journal_of(runtime: Runtime, writer: str, request_ids: Sequence[str]) -> "Journal":
    """The journal of a cell: of these requests to this engine, with this code."""
    return Journal(runtime.home.journals / f"{digest(writer, list(request_ids))}.jsonl")


def version_of(engine: str) -> str:
    """`@` and the beginning of the digest of an engine's code: answers of another version are not taken for its own."""
    return f"@{digest(engine_code(engine))[:8]}"


def stored_count(
    lineage: Lineage, problems: Sequence[Problem], prompt_ids: Sequence[str], call: Mapping[str, Any]
) -> int:
    """How many of the requests of a `sample` call are stored, found without an engine to name them."""
    sampling: Sampling = call["sampling"]
    return lineage.count_attempts(
        [problem.problem_id for problem in problems],
        prompt_ids,
        checkpoint_id=call["checkpoint_id"],
        sampling=sampling.text,
        seed=drawn_with(sampling, call["seed"]),
        engine=version_of(call["engine"]),
        samples=range(call["first_sample"], call["first_sample"] + call["samples"]),
    )


class Journal:
    """Finished responses of a cell, one JSON line each, in the order they came. A torn last line is ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._synced = time.monotonic()
        self.answered: set[str] = set()
        """Requests with a response, failed ones included."""
        self.failures: Counter[str] = Counter()
        self.last_error = ""

    def finished(self) -> dict[str, Response]:
        """Responses by request id; failed ones only once they are final."""
        finished: dict[str, Response] = {}
        names = {field.name for field in fields(Response)}
        with writing(self.path):
            if not self.path.exists():
                return finished
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines:
            try:
                response = Response(**{name: value for name, value in json.loads(line).items() if name in names})
            except (ValueError, TypeError):
                continue  # torn by a kill: its request is simply asked again
            self._count(response)
            if response.decided or self.failures[response.request_id] >= MAX_ATTEMPTS:
                finished[response.request_id] = response
        return finished

    def append(self, response: Response) -> None:
        self._count(response)
        rest = memoryview(f"{json.dumps(asdict(response))}\n".encode())
        with writing(self.path):
            while rest:  # unbuffered: what is written is with the system, whatever becomes of this process
                rest = rest[self._file.write(rest) :]
            if time.monotonic() - self._synced > 1:
                self._sync()

    def remove(self) -> None:
        """Start over."""
        with writing(self.path):
            self.path.unlink(missing_ok=True)
        self.answered.clear()
        self.failures.clear()

    def __enter__(self) -> "Journal":
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab", buffering=0)
            if self._file.tell():
                self._file.write(b"\n")  # ends a line that a power cut may have torn
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What was raised inside is what there is to tell; a second fault of the same disk is not.
        with writing(self.path) if error is None else suppress(OSError):
            try:
                self._sync()
            finally:
                self._file.close()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _count(self, response: Response) -> None:
        self.answered.add(response.request_id)
        if response.finish_reason == FAILED:
            self.failures[response.request_id] += 1
            self.last_error = response.error or "no reason given"


def _response(row: Attempt) -> Response:
    return Response(row.request_id, row.text, row.finish_reason, row.prompt_tokens, row.tokens, row.logprob, row.error)
