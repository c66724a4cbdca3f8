"""The first process of the program's own process table: it starts the program, says how it ended, and takes all it started with it."""

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from tasks.verifiers.channel import Channel, Closed
from tasks.verifiers.confinement import Limits, die_with_parent, limit
from tasks.verifiers.program import serve

POLL_S = 0.005
MOST_FILES = 1024


def watch_service(source: str, limits: Limits, control: socket.socket, program: socket.socket) -> None:
    """Runs the program to be asked over `program`, and says over `control` how it ended."""
    child = _start(lambda: serve(program, source), limits, keep=program.fileno())
    program.close()
    ended = _ended(child, limits) or "it ended before it had answered"
    _end_all(child)
    Channel(control).send({"ended": ended})


def watch_runs(source: str, limits: Limits, control: socket.socket) -> None:
    """Runs the program once for every input that it is told over `control`; answers what it wrote, and how it ended if not well."""
    channel = Channel(control)
    while True:
        try:
            asked = channel.receive()
        except Closed:
            return
        channel.send(_one_run(source, asked["input"], limits))


def _one_run(source: str, given: str, limits: Limits) -> dict[str, Any]:
    stdin = os.open("input", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.unlink("input")
    with os.fdopen(os.dup(stdin), "wb") as file:
        file.write(given.encode())
    os.lseek(stdin, 0, os.SEEK_SET)
    reads, writes = os.pipe()
    child = _start(lambda: _script(source), limits, stdin=stdin, stdout=writes)
    os.close(stdin)
    os.close(writes)
    output, ended, writing = bytearray(), None, True
    while ended is None:
        if writing and select.select([reads], [], [], POLL_S)[0]:
            part = os.read(reads, 65536)
            output, writing = output + part, bool(part)
            if len(output) > limits.output:
                ended = f"it wrote more than {limits.output:,} bytes"
        else:
            if not writing:
                time.sleep(POLL_S)
            ended = _ended(child, limits, os.WNOHANG)
    _end_all(child)
    while not ended and writing and len(output) <= limits.output:
        part = os.read(reads, 65536)
        output, writing = output + part, bool(part)
    os.close(reads)
    return {"output": output[: limits.output].decode("utf-8", "replace"), "ended": ended}


def _start(
    then: Callable[[], None], limits: Limits, *, keep: int = -1, stdin: int | None = None, stdout: int | None = None
) -> int:
    """A child that has nothing open but what it is given; its process id."""
    alone = os.getpid() == 1
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        if not alone:
            os.setpgid(0, 0)
            die_with_parent()
        nothing = os.open("/dev/null", os.O_RDWR)
        for place, end in enumerate((stdin, stdout, None)):
            os.dup2(nothing if end is None else end, place)
        os.closerange(3, max(3, keep))
        os.closerange(max(3, keep + 1), MOST_FILES)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - the program's own, for as long as it lives
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        limit(limits)
        then()
        status = 0
    except SystemExit as asked:
        status = asked.code if isinstance(asked.code, int) else bool(asked.code)
    except BaseException:  # noqa: BLE001 - the program's own; its status says so
        status = 1
    finally:
        try:
            sys.stdout.flush()
        finally:
            os._exit(status & 255)


def _script(source: str) -> None:
    import types

    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"], sys.argv = main, ["program.py"]
    exec(compile(source, "<program>", "exec", dont_inherit=True), main.__dict__)


def _ended(child: int, limits: Limits, options: int = 0) -> str | None:
    """How the program ended, empty if well; None while it runs."""
    pid, status, used = os.wait4(child, options)
    if pid == 0:
        return None
    if os.WIFEXITED(status):
        code = os.WEXITSTATUS(status)
        return f"it ended with status {code}" if code else ""
    number = os.WTERMSIG(status)
    spent = used.ru_utime + used.ru_stime
    # The kernel counts ticks for the limit and nanoseconds here, so the two differ where many processes share a core.
    if number == signal.SIGXCPU or (number == signal.SIGKILL and spent > limits.seconds / 2):
        return f"it used up its {limits.seconds} s of CPU time"
    return f"it was ended by {signal.Signals(number).name}"


def _end_all(child: int) -> None:
    """Ends what the program has left behind: everything else in an own process table, else its process group."""
    try:
        os.kill(-1, signal.SIGKILL) if os.getpid() == 1 else os.killpg(child, signal.SIGKILL)
        while True:
            os.waitpid(-1, 0)
    except (ProcessLookupError, ChildProcessError):
        return
