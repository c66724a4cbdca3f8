"""All requests of one call to a served engine, from the first to the last: asked side by side, told as they finish.

A request that was given up is not told before another has succeeded: where nothing succeeds any more it is the server that
fails, not the requests, so the call stops and none of them counts as a failed attempt.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

from storage.errors import EngineFault, StarloopError, UserMistake
from tasks.engines.exchange import Exchange, NotAnAnswer
from tasks.engines.faults import REFUSED, Fault, Kind
from tasks.engines.line import Line, backed_off
from tasks.engines.protocol import FAILED, Request, Response, Sampling

IN_A_ROW = 8
"""So many requests given up, and none answered between them, are the server's failure."""


class Asking:
    """One call. `told` is given every response, in the event loop's thread."""

    def __init__(self, line: Line, exchange: Exchange, sampling: Sampling, told: Callable[[Response], None]) -> None:
        self._line = line
        self._exchange = exchange
        self._sampling = sampling
        self._told = told
        self._given_up: list[Response] = []
        self._answered_at = float("-inf")
        self._why: StarloopError | None = None
        self._stopping = asyncio.Event()

    async def all(self, requests: Sequence[Request]) -> None:
        """Ask them all. Once something stops the call, what is under way may still finish; then that is raised."""
        waiting = iter(requests)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._line.served.concurrency, len(requests))):
                    group.create_task(self._work(waiting))
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        if self._why is not None:
            raise self._why
        self._tell_given_up()

    async def _work(self, waiting: Iterator[Request]) -> None:
        for request in waiting:
            await self._ask(request)
            if self._stopping.is_set():
                return

    async def _ask(self, request: Request) -> None:
        """One request, until it is answered, given up, or everything stops."""
        served = self._line.served
        body = self._exchange.body(request, self._sampling)
        begun, waited, tries, failed = time.monotonic(), 0.0, 0, 0
        while not self._stopping.is_set():
            if quiet := self._line.quiet_for():
                await self._pause(quiet)
                continue
            outcome = await self._once(request, body)
            if isinstance(outcome, Response):
                self._answered(outcome)
                return
            if self._stopping.is_set():
                return
            if outcome.kind is Kind.MISTAKE:
                self._stop(UserMistake(self._sentence(outcome)))
                return
            if outcome.kind is Kind.NEVER:
                self._answered(self._failed(request, outcome, final=True))
                return
            failed += outcome.kind is Kind.REQUEST
            pause = backed_off(tries) if outcome.after is None else max(outcome.after, backed_off(0) / 10)
            if outcome.kind is Kind.SERVER and waited + pause > served.wait and self._answered_at < begun:
                self._stop(EngineFault(self._patience_ended(outcome, pause)))
                return
            if not outcome.again or failed > served.retries or waited + pause > served.wait:
                self._give_up(self._failed(request, outcome))
                return
            if outcome.after is not None:
                self._line.keep_quiet(outcome.after)
            tries, waited = tries + 1, waited + pause
            await self._pause(pause)

    async def _once(self, request: Request, body: dict[str, object]) -> Response | Fault:
        answer = await self._line.post(self._exchange.path, body)
        if isinstance(answer, Fault):
            return answer
        try:
            return self._exchange.read(answer, request, self._sampling)
        except NotAnAnswer as why:
            return Fault(Kind.REQUEST, str(why))

    def _answered(self, response: Response) -> None:
        self._answered_at = time.monotonic()
        self._tell_given_up()
        self._told(response)

    def _tell_given_up(self) -> None:
        for response in self._given_up:
            self._told(response)
        self._given_up.clear()

    def _give_up(self, response: Response) -> None:
        self._given_up.append(response)
        if len(self._given_up) >= IN_A_ROW:
            self._stop(
                EngineFault(
                    f"{IN_A_ROW} requests in a row failed at {self._line.served.url} ({response.error}); "
                    "what was answered is kept, mend the server and run again"
                )
            )

    def _failed(self, request: Request, fault: Fault, *, final: bool = False) -> Response:
        return Response(request.request_id, "", FAILED, None, None, error=fault.sentence, final=final)

    def _stop(self, why: StarloopError) -> None:
        self._why = self._why or why
        self._stopping.set()

    async def _pause(self, seconds: float) -> None:
        """Wait, but not for a call that is stopping."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def _sentence(self, fault: Fault) -> str:
        served = self._line.served
        key = f"; the key is read from {served.key}" if fault.status in REFUSED else ""
        return (
            f"{served.url}{self._exchange.path} refuses what it is asked for {self._exchange.model!r}: "
            f"{fault.sentence}{key}; what was answered is kept"
        )

    def _patience_ended(self, fault: Fault, pause: float) -> str:
        served = self._line.served
        asked = f", which asks to wait {pause:.0f} s," if fault.after is not None else ""
        return (
            f"the server {served.url}{asked} cannot be had ({fault.sentence}), and wait={served.wait:g} s are allowed for it; "
            "what was answered is kept, run again once it answers"
        )
