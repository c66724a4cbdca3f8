"""What `sandbox` starts: it shuts itself in, and then forks the program's side and the tests' side, each into a process table of its own.

    launcher ─┬─ (waits) ── warden ── program        asked over a channel; everything it starts ends with the warden
              └─ (waits) ── examiner                 runs the tests, has the verdict

The two see no process of each other, and nothing of the machine but Python's library. One process that has imported all this forks a
launcher for every job, and ends when its standard input does: with whoever started it.
"""

import dataclasses
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.verifiers.channel import Channel
from tasks.verifiers.confinement import (
    FIRST_USER,
    Limits,
    die_with_parent,
    give_up_privileges,
    hide_from_debuggers,
    isolate,
    limit,
    own_process_ids,
)
from tasks.verifiers.examiner import examine
from tasks.verifiers.warden import watch_runs, watch_service

MOST_FILES = 1024


def main() -> None:
    """Forks a launcher for each socket that comes over standard input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    doorway = socket.socket(fileno=0)
    while True:
        message, descriptors, _, _ = socket.recv_fds(doorway, 1, 1)
        if not message:
            return
        with socket.socket(fileno=descriptors[0]) as caller:
            if os.fork():
                continue
            try:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                die_with_parent()
                os.setsid()
                doorway.detach()
                _quiet()
                launch(Channel(caller))
            finally:
                os._exit(0)


def launch(caller: Channel) -> None:
    """One job: says its process id, which is its group's too, then what came of it, and waits to be ended."""
    caller.send({"pid": os.getpid()})
    try:
        caller.send(_done(caller))
    except OSError as why:
        caller.send({"refused": f"it could not be set up: {why}"})
    caller.receive()


def _done(caller: Channel) -> dict[str, Any]:
    job = caller.receive()
    limits = Limits(**job["limits"])
    root = os.geteuid() == 0 and _really_root()
    missing = isolate(job["folder"], limits.disk)
    refused = missing if not job["partial"] else _unreadable(root) if missing else None
    if refused:
        return {"refused": refused}
    user = FIRST_USER + os.getpid() if root else None
    if missing:
        os.chdir(job["folder"])
        if user is not None:
            os.chown(job["folder"], user, user)
    return _examined(job, caller, limits, _Household(missing is None, user)) | {"missing": missing}


class _Household:
    """How children are shut in: `isolated` in a process table of their own; `user` is whom they become, None as they are."""

    def __init__(self, isolated: bool, user: int | None) -> None:
        self.isolated, self.user = isolated, user

    def start(self, then: Callable[[], None]) -> int:
        """A process that waits for the one that does `then`; its id."""
        waiting = os.fork()
        if waiting:
            return waiting
        die_with_parent()
        if self.isolated:
            own_process_ids()
        child = os.fork()
        if child == 0:
            try:
                give_up_privileges(self.user)
                hide_from_debuggers()
                then()
            finally:
                os._exit(0)
        os.closerange(0, MOST_FILES)
        os.waitpid(child, 0)
        os._exit(0)


def _examined(job: dict[str, Any], caller: Channel, limits: Limits, household: _Household) -> dict[str, Any]:
    """The tests are not received until the program's side has been forked: what it never had it cannot find in its memory."""
    asks, answers = socket.socketpair()
    watches, watched = socket.socketpair()
    reads, writes = os.pipe()

    def guard() -> None:
        caller.close()
        asks.close()
        watches.close()
        os.close(reads)
        os.close(writes)
        if job["by_runs"]:
            watch_runs(job["program"], limits, watched)
        else:
            watch_service(job["program"], limits, watched, answers)

    def question() -> None:
        caller.close()
        answers.close()
        watched.close()
        os.close(reads)
        limit(dataclasses.replace(limits, seconds=2 * limits.seconds, memory=2 * limits.memory))
        found = examine(questions, Channel(asks), Channel(watches))
        with os.fdopen(writes, "wb") as out:
            out.write(json.dumps(found).encode())

    children = [household.start(guard)]
    questions = caller.receive()
    children.append(household.start(question))
    for end in (asks, answers, watches, watched):
        end.close()
    os.close(writes)
    with os.fdopen(reads, "rb") as verdict:
        said = verdict.read()
    for child in reversed(children):
        os.waitpid(child, 0)
    return json.loads(said) if said else {"undecided": "the tests did not come to an end"}


def _quiet() -> None:
    nothing = os.open("/dev/null", os.O_RDWR)
    for place in range(3):
        os.dup2(nothing, place)


def _really_root() -> bool:
    """Whether user ids other than root's own are there to become."""
    try:
        mapped = Path("/proc/self/uid_map").read_text(encoding="ascii").split()
    except OSError:
        return True
    return int(mapped[-1]) > FIRST_USER


def _unreadable(root: bool) -> str | None:
    """Why root cannot run programs without namespaces: whom it becomes must be able to read Python's library."""
    folders = Path(os.__file__).resolve().parents
    if root and not all(folder.stat().st_mode & 0o001 for folder in folders):
        return "Python's library is in a folder that only root may read"
    return None
