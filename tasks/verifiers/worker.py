"""Verifiers in a process of its own, which may be killed at any time: what `tasks.verifier_pool` starts.

    parent → Rows(ref, rows)                child → the judgements on the first row, on the second, …, or Fault

A row may use so many seconds of the processor: then the kernel ends the process, whatever it is in the middle of. That clock
stands still while others compute, so a busy machine decides nothing; who only sleeps is ended by the parent.
"""

import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from storage.errors import StarloopError
from storage.records import Attempt, Problem
from tasks.verifiers.judging import OUT_OF_MEMORY, judge
from tasks.verifiers.protocol import Verifier
from tasks.verifiers.registry import load


@dataclass(frozen=True, slots=True)
class Rows:
    """What is to be judged, in this order."""

    ref: str
    rows: Sequence[tuple[Attempt, Problem]]


@dataclass(frozen=True, slots=True)
class Fault:
    """The verifier cannot be loaded here; no row is at fault."""

    sentence: str


def serve(connection: "Connection[object, object]", path: list[str], cpu_s: float, memory_mb: int) -> None:
    """Judges rows until the other end is gone; ends itself once memory ran out, since what is left of it is not to be trusted.

    `path` is where the parent finds modules; `cpu_s` what one row may compute; `memory_mb` what may be taken beyond what
    the process starts with (not limited where the system does not tell its size).
    """
    sys.path[:] = path
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    confine(memory_mb)
    loaded: dict[str, Verifier] = {}
    while True:
        try:
            asked = connection.recv()
        except (EOFError, ConnectionResetError):
            return
        assert isinstance(asked, Rows)
        try:
            verifier = loaded[asked.ref] = loaded.get(asked.ref) or load(asked.ref)
        except StarloopError as error:
            connection.send(Fault(str(error)))
            continue
        for attempt, problem in asked.rows:
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
            judgements = judge(verifier, attempt, problem)
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.send(judgements)
            if any(one.reason == OUT_OF_MEMORY for one in judgements):
                return


def confine(memory_mb: int) -> None:
    """Lets this process take so much more memory and no more; what asks for it then gets a MemoryError."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return
    limit = pages * resource.getpagesize() + memory_mb * 2**20
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
