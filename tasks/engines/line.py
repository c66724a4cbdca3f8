"""The line to one server: at most so many requests on it at a time, and none while the server asks to be left alone."""

import asyncio
import json
import random
import time
from dataclasses import replace
from typing import Any

import httpx2

from tasks.engines.faults import Fault, Kind, fault_of, used_up
from tasks.engines.served import Served

CONNECT_S = 10.0
"""How long a connection may take to be made, and the first look at a server."""
LARGEST = 64 << 20
"""Bytes of an answer; a longer one is none."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds of the first back-off, and of the longest."""
HIDDEN = "…"


class Line:
    """Shared by everything that asks the same server; used inside one event loop."""

    def __init__(self, served: Served, key: str | None) -> None:
        self.served = served
        self._key = key
        self._slots = asyncio.Semaphore(served.concurrency)
        self._quiet_until = 0.0
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(None, connect=CONNECT_S),
            limits=httpx2.Limits(max_connections=None),
            trust_env=not served.local,
            # Reading the certificates of the authorities takes a third of a second.
            verify=not served.local or served.url.startswith("https:"),
        )

    async def post(self, path: str, body: dict[str, Any]) -> object | Fault:
        """What the server answers to one request, as JSON; or what went wrong. Waits for a slot, not for what it costs to ask again."""
        async with self._slots:
            return await self._ask("POST", path, body, self.served.timeout)

    async def models(self) -> list[dict[str, Any]] | Fault:
        """What the server says it has; nothing where it does not tell."""
        found = await self._ask("GET", "/models", None, CONNECT_S)
        if isinstance(found, Fault):
            return found
        listed = found.get("data") if isinstance(found, dict) else None
        return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []

    async def description(self) -> dict[str, Any] | Fault:
        """The server's own description of its interface; nothing where it has none."""
        found = await self._ask("GET", "/openapi.json", None, CONNECT_S, self.served.url.removesuffix("/v1"))
        return found if isinstance(found, dict | Fault) else {}

    def quiet_for(self) -> float:
        """The seconds for which the server wants to hear nothing."""
        return max(0.0, self._quiet_until - time.monotonic())

    def keep_quiet(self, seconds: float) -> None:
        """Ask nothing for so long."""
        self._quiet_until = max(self._quiet_until, time.monotonic() + seconds)

    async def close(self) -> None:
        await self._client.aclose()

    async def _ask(self, method: str, path: str, body: object, timeout: float, url: str = "") -> object | Fault:
        try:
            async with (
                asyncio.timeout(timeout),
                self._client.stream(method, (url or self.served.url) + path, json=body) as reply,
            ):
                content = bytearray()
                async for piece in reply.aiter_bytes():
                    content += piece
                    if len(content) > LARGEST:
                        return Fault(Kind.REQUEST, f"its answer is longer than {LARGEST >> 20} MiB", again=False)
        except TimeoutError:
            return Fault(Kind.REQUEST, f"it gave no answer within {timeout:g} s", again=False)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            return Fault(Kind.SERVER, self._hiding(f"nobody answers there ({_cause(error)})"))
        except httpx2.HTTPError as error:
            return Fault(Kind.REQUEST, self._hiding(f"the connection broke ({_cause(error)})"))
        if (pause := used_up(reply.headers)) is not None and pause <= self.served.wait:
            self.keep_quiet(pause)
        if reply.status_code != 200:
            fault = fault_of(reply.status_code, reply.headers, bytes(content))
            return replace(fault, sentence=self._hiding(fault.sentence))
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            return Fault(Kind.REQUEST, "its answer is no JSON", status=reply.status_code)

    def _hiding(self, sentence: str) -> str:
        """The sentence without the key, should a server have repeated it."""
        return sentence.replace(self._key, HIDDEN) if self._key else sentence


def backed_off(tries: int) -> float:
    """Seconds before the next try: twice as many each time, and not the same for all."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2**tries) * random.uniform(0.5, 1.0)


def _cause(error: httpx2.HTTPError) -> str:
    said = " ".join(str(error).split())
    return said[:200] or type(error).__name__
