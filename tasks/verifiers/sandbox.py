"""The code sandbox, from outside: a program that nobody has read is tried out, and nothing of it is left.

    examine(Examination("def add(a, b): return a + b", tests=("assert add(1, 2) == 3",)))
    Outcome(results=(Result(True, ''),), undecided='', missing='')

The tests run in a process of their own and ask the program's process, so the program can neither see them nor change what they
compare. Where the kernel allows namespaces, neither sees the machine (see `confinement`). Where it does not, nothing is run,
unless STARLOOP_SANDBOX=partial says to go on with what is left: limits of each process, an empty folder, another user (as root), and an
end on time. Then a program can read what its user can read and reach the network.
"""

import atexit
import contextlib
import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from storage.errors import UserMistake
from tasks.verifiers import launcher
from tasks.verifiers.channel import Channel, Closed
from tasks.verifiers.confinement import Limits

PARTIAL = "partial"
USUAL = Limits()
STARTS_WITHIN_S = 60
ENVIRONMENT = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp"}


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a whole program: what it is given as standard input, and what it should write."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Examination:
    """A program with its tests (Python that calls it), or with runs. `entry`: the name that it must define."""

    program: str
    tests: tuple[str, ...] = ()
    setup: str = ""
    entry: str = ""
    runs: tuple[Run, ...] = ()
    limits: Limits = USUAL


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one test; `reason` is empty where it passed."""

    passed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One result a test, or `undecided` with the reason why there are none. `missing`: what could not be shut off here, if not all was."""

    results: tuple[Result, ...]
    undecided: str = ""
    missing: str = ""


def examine(examination: Examination) -> Outcome:
    """The outcome, within the time that its limits give; what it started is killed then."""
    seconds = examination.limits.wait * max(1, len(examination.runs))
    folder = Path(tempfile.mkdtemp(prefix="starloop-sandbox-"))
    questions = dataclasses.asdict(examination)
    limits, program = questions.pop("limits"), questions.pop("program")
    job = {
        "program": program, "limits": limits, "folder": str(folder), "partial": mode() == PARTIAL,
        "by_runs": bool(examination.runs),
    }  # fmt: skip
    try:
        return _read(DOOR.ask(job, questions, seconds))
    except TimeoutError:
        return Outcome((), f"the program was still running after {seconds:g} s")
    except Closed as why:
        return Outcome((), f"the sandbox did not start: {why}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Door:
    """The process that forks launchers, started when it is first needed, and again where it is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._end: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, job: dict[str, Any], questions: dict[str, Any], seconds: float) -> dict[str, Any]:
        """What a launcher answers to a program, and then its tests; TimeoutError after so many seconds, with all its processes killed."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._pass_on(theirs)
            theirs.close()
            ours.settimeout(STARTS_WITHIN_S)
            launcher_ = Channel(ours)
            pid = int(launcher_.receive()["pid"])
            try:
                ours.settimeout(seconds)
                launcher_.send(job)
                launcher_.send(questions)
                return launcher_.receive()
            finally:  # it stays until then, so that the number is still its own
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)

    def _pass_on(self, theirs: socket.socket) -> None:
        with self._lock:
            for _ in range(2):
                end = self._open() if self._end is None else self._end
                try:
                    socket.send_fds(end, [b"+"], [theirs.fileno()])
                    return
                except OSError:
                    self.close()
            raise Closed("its first process ends at once")

    def _open(self) -> socket.socket:
        root = str(Path(launcher.__file__).resolve().parents[2])
        start = f"import sys; sys.path.insert(0, {root!r}); from tasks.verifiers.launcher import main; sys.path.pop(0); main()"
        self._end, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-S", "-B", "-c", start],
                stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                cwd="/", env=ENVIRONMENT,
            )  # fmt: skip
        return self._end

    def close(self) -> None:
        """Ends the process; launchers that are at work end with it."""
        end, process, self._end, self._process = self._end, self._process, None, None
        if end is not None:
            end.close()
        if process is not None:
            process.wait()

    def forget(self) -> None:
        """In a process that was forked: the door is its parent's."""
        if self._process is not None:
            self._process.returncode = 0  # not this process's child, so nothing to wait for
        self._lock, self._end, self._process = threading.Lock(), None, None


DOOR = Door()
atexit.register(DOOR.close)
os.register_at_fork(after_in_child=DOOR.forget)


def mode() -> str:
    """What STARLOOP_SANDBOX asks for: empty (all or nothing), or partial."""
    asked = os.environ.get("STARLOOP_SANDBOX", "")
    if asked not in {"", PARTIAL}:
        raise UserMistake(f"STARLOOP_SANDBOX = {asked!r} is not known; unset it, or give {PARTIAL}")
    return asked


@cache
def protections() -> str:
    """Why a program cannot be shut in here, as one sentence; empty where it can."""
    outcome = examine(Examination("", tests=("pass",)))
    if outcome.undecided:
        return outcome.undecided
    if outcome.missing:
        return (
            f"programs run without a root, network and process table of their own, because {outcome.missing}: they can read what "
            "this user can read, use the network, write more than their share of the disk, and leave processes behind"
        )
    return ""


def _read(answer: dict[str, Any]) -> Outcome:
    if why := answer.get("refused"):
        return Outcome(
            (),
            f"this machine cannot shut a program in ({why}); run it where user namespaces are allowed, or accept less with "
            f"STARLOOP_SANDBOX={PARTIAL}",
        )
    missing = answer.get("missing") or ""
    if why := answer.get("undecided"):
        return Outcome((), why, missing)
    return Outcome(tuple(Result(one["passed"], one["reason"]) for one in answer["results"]), "", missing)
