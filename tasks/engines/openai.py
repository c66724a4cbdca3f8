"""Any server that speaks OpenAI's HTTP interface: `openai:http://127.0.0.1:8000/v1?model=Qwen/Qwen2.5-3B-Instruct`.

What the ref may say is told in `tasks.engines.served`, what is sent and read in `exchange`, what becomes of a failure in
`faults`. Nothing waits for a batch: every response is given on the moment it is there.

A server cannot show its weights, so the engine has no digest of them; its name holds the address and the model's name there.

It talks through httpx2 and not through the `openai` package: retries, waiting and stopping must be the cell's, not a request's
(that package retries each request by itself, and takes a body that is no answer for one), and huggingface_hub, which is needed
anyway, brings httpx2 along.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from storage.errors import EngineFault, UserMistake
from tasks.engines.asking import Asking
from tasks.engines.exchange import Exchange
from tasks.engines.faults import REFUSED, Fault
from tasks.engines.line import Line
from tasks.engines.protocol import Prices, Request, Response, Sampling
from tasks.engines.served import Served, served_by

Given = TypeVar("Given")


def check_options(options: str) -> Served:
    """The options as read; raises UserMistake for one that does not exist or fit. Asks nobody."""
    return served_by(options)


def deciding(options: str) -> str:
    """The options that decide a text, in one way of writing them."""
    return served_by(options).deciding


def prices(options: str) -> Prices | None:
    """What tokens cost, as the ref says."""
    return served_by(options).prices


def takes_messages(options: str) -> bool:
    """Whether the server makes a chat of a prompt itself."""
    return served_by(options).endpoint == "chat"


def open_engine(model: Path | str | None, options: str = "") -> "OpenAIEngine":
    """The engine that asks this server. Raises EngineFault when nobody answers there, and UserMistake when the key is refused."""
    served = served_by(options)
    named = served.model or (str(model) if model is not None else None)
    if named is None:
        raise UserMistake("engine openai needs a model's name; write openai:URL?model=NAME")
    return OpenAIEngine(served, named)


class OpenAIEngine:
    """A server and a model there. May be used by several threads; together they keep to one bound."""

    batched = False
    weights_digest = None

    def __init__(self, served: Served, model: str) -> None:
        key = os.environ.get(served.key) if served.sends_key else None
        self._served = served
        self._lock = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="served-engine", daemon=True)
        self._thread.start()
        self._line = Line(served, key)
        try:
            server = self._submit(self._look()).result()
        except BaseException:
            self.close()
            raise
        self._exchange = Exchange(model, served.endpoint, served.server or server, served.reasoning)
        kept = " with its reasoning" if served.reasoning == "keep" else ""
        self.name = f"openai {self._exchange.server} {served.endpoint} {model} at {served.url}{kept}"

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[Response]:
        """One response for every request, as they finish.

        Raises UserMistake when the server refuses what it is asked, and EngineFault when it cannot be had, after what was under
        way has been given.
        """
        if sampling.top_k and not self._exchange.takes_top_k:
            raise UserMistake(
                f"top_k={sampling.top_k} is not in OpenAI's interface; set sampling.top_k=0, or name a server that takes it "
                f"in the engine's ref: server=vllm, llama.cpp or transformers"
            )
        if sampling.presence_penalty and not self._exchange.takes_presence_penalty:
            raise UserMistake(
                f"transformers serve takes no presence_penalty ({sampling.presence_penalty:g} is asked for); set it to 0, or use "
                "the engine transformers, vLLM or llama.cpp"
            )
        answers: SimpleQueue[Response | None] = SimpleQueue()
        under_way = self._submit(Asking(self._line, self._exchange, sampling, answers.put).all(requests))
        under_way.add_done_callback(lambda _: answers.put(None))
        try:
            while (answer := answers.get()) is not None:
                yield answer
            under_way.result()
        except CancelledError:
            raise EngineFault(f"the engine of {self._served.url} was closed; what was answered is kept") from None
        finally:
            under_way.cancel()

    def close(self) -> None:
        """Break off what is under way, and hang up."""
        with self._lock:
            if self._closed:
                return
            self._closed = True  # what was submitted before is cancelled, and nothing is after
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _look(self) -> str:
        """Which server this is; raises the sentence for one that cannot be used."""
        models = await self._told(self._line.models)
        owners = set() if isinstance(models, Fault) else {str(one.get("owned_by")) for one in models}
        if "vllm" in owners:
            return "vllm"
        if "llamacpp" in owners:
            return "llama.cpp"
        if self._served.server is None and self._served.local:
            interface = await self._told(self._line.description)
            return "openai" if isinstance(interface, Fault) else _described(interface)
        return "openai"

    async def _told(self, ask: Callable[[], Awaitable[Given | Fault]]) -> Given | Fault:
        """What a server tells about itself. One that tells nothing may still write; one that is not there, or wants another key, does not."""
        found = await ask()
        if isinstance(found, Fault) and found.status is None and found.again:
            found = await ask()  # some hang up after an error of theirs, just when the next question comes
        if isinstance(found, Fault) and found.status is None:
            raise EngineFault(f"{self._served.url}: {found.sentence}; start the server, and run again")
        if isinstance(found, Fault) and found.status in REFUSED:
            raise UserMistake(f"{self._served.url} wants another key than {self._key_told()}: {found.sentence}")
        return found

    def _key_told(self) -> str:
        if not self._served.sends_key:
            return f"none ({self._served.key} is not sent unencrypted over a network unless key={self._served.key} says so)"
        if not os.environ.get(self._served.key):
            return f"none ({self._served.key} is not set)"
        return f"that in {self._served.key}"

    async def _hang_up(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._line.close()

    def _submit(self, work: Coroutine[Any, Any, Given]) -> "Future[Given]":
        with self._lock:
            if self._closed:
                work.close()
                raise EngineFault(f"the engine of {self._served.url} has been closed")
            return asyncio.run_coroutine_threadsafe(work, self._loop)


def _described(interface: dict[str, Any]) -> str:
    """Which server describes its interface so; openai for one that is not known."""
    paths, about = interface.get("paths"), interface.get("info")
    if isinstance(paths, dict) and {"/load_model", "/v1/chat/completions"} <= paths.keys():
        return "transformers"
    if isinstance(about, dict) and "llama.cpp" in str(about.get("title")):
        return "llama.cpp"
    return "openai"
