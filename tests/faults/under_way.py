"""A run that is under way in a process of its own, watched through its trace, so that it can be disturbed from outside."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.faults.trace import Trace
from tests.small_run import ROOT

LIMIT_S = 240.0


class UnderWay:
    """The command, started. Use as a context: whatever is left of it then is killed."""

    def __init__(self, home: Path, folder: Path, arguments: list[str], **environment: str) -> None:
        self.home = home
        self._trace = folder / f"points-{time.monotonic_ns()}"
        self._said = self._trace.with_suffix(".said")
        settings = os.environ | {"STARLOOP_HOME": str(home), "STARLOOP_FAULT_TRACE": str(self._trace)}
        settings |= {"PREFECT_LOGGING_LEVEL": "CRITICAL", **environment}
        command = [sys.executable, "-P", "-m", "flows.cli.main", *arguments]
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=settings, cwd=ROOT
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def trace(self) -> Trace:
        return Trace.read(self._trace)

    @property
    def said(self) -> str:
        return self._said.read_text(encoding="utf-8", errors="replace")

    def until(self, point: str, times: int = 1) -> int:
        """Waits until a point was reached so often; the id of the process that was there last."""
        soon(lambda: self.trace.count(point) >= times or self.process.poll() is not None)
        assert self.trace.count(point) >= times, self.said
        return [process for name, process in self.trace.points if name == point][-1]

    def end(self) -> int:
        """Waits for it; the exit code."""
        return self.process.wait(timeout=LIMIT_S)

    def left(self) -> list[str]:
        """The processes that were started for it, by anyone, and are still there."""
        found: list[str] = []
        for entry in Path("/proc").iterdir():
            try:
                environment = (entry / "environ").read_bytes()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"STARLOOP_FAULT_TRACE={self._trace}\0".encode() in environment and command:
                found.append(f"{entry.name} {command}")
        return found


def soon(condition: Callable[[], bool], within_s: float = LIMIT_S) -> bool:
    """Whether it comes true in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False
