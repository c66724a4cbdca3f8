"""A process that has imported everything once and lends itself to many runs, which then need not wait for their imports.

    python -P -m tasks.warm /run/user/1000/starloop.sock &
    STARLOOP_WARM=/run/user/1000/starloop.sock starloop run star --preset addition-quick

Whoever connects says in one line where its source is and what its environment and working directory are, hands over its
log's descriptor, and from then on talks to a zygote of its own (see `tasks.zygote`), forked from this process. It lends nothing to a source
other than its own, or to one that was edited since: old code must not run under the new code's name. Without one that answers, a run imports for itself. What a library reads from the
environment when it is imported stays as it was.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from storage import faults
from tasks.zygote import PRELOAD, Zygote, import_ahead

ADDRESS = "STARLOOP_WARM"
"""The environment variable that names the socket."""
ROOT = Path(__file__).resolve().parent.parent
LONGEST_LINE = 1 << 20


def borrow(environment: Mapping[str, str], log: int) -> socket.socket | None:
    """A line to a zygote that is ready, or None where STARLOOP_WARM names none to be had. `log` is a descriptor to write to."""
    if not (address := environment.get(ADDRESS)):
        return None
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    asked = {"root": str(ROOT), "environment": dict(environment), "directory": os.getcwd()}
    try:
        channel.settimeout(60)
        channel.connect(address)
        line = json.dumps(asked).encode() + b"\n"
        sent = socket.send_fds(channel, [line], [log])
        channel.sendall(line[sent:])
        if channel.recv(1) == b"+":
            channel.settimeout(None)
            return channel
    except OSError:
        pass
    channel.close()
    return None


def lend(address: Path) -> NoReturn:
    """Answers whoever connects, until it is killed or its parent is gone."""
    began = time.time()
    for stage in PRELOAD:
        import_ahead(stage)
    address.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(address))
    address.chmod(0o600)
    listener.listen()
    listener.settimeout(1.0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a zygote that was lent
    parent = os.getppid()
    while os.getppid() == parent:
        with contextlib.suppress(TimeoutError):
            channel, _ = listener.accept()
            channel.settimeout(None)
            with channel, contextlib.suppress(OSError, ValueError, KeyError):
                _answer(channel, listener, began)
    address.unlink(missing_ok=True)
    sys.exit(0)


def _answer(channel: socket.socket, listener: socket.socket, began: float) -> None:
    data, descriptors, _, _ = socket.recv_fds(channel, 65536, 1)
    try:
        while data and not data.endswith(b"\n") and len(data) < LONGEST_LINE:
            data += channel.recv(65536)
        asked = json.loads(data)
        if asked["root"] != str(ROOT) or edited_since(began):
            channel.sendall(b"-")
            return
        if os.fork() == 0:
            listener.close()
            _become(channel, asked, descriptors[0])
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _become(channel: socket.socket, asked: dict[str, dict[str, str]], log: int) -> NoReturn:
    """In the fork: a zygote as if whoever asked had started it."""
    try:
        os.setsid()
        for target in (1, 2):
            os.dup2(log, target)
        os.close(log)
        os.environ.clear()
        os.environ.update(asked["environment"])
        faults.arm()
        os.chdir(str(asked["directory"]))
        sys.path += [*os.environ.get("PYTHONPATH", "").split(os.pathsep), os.getcwd()]
        channel.sendall(b"+")
        Zygote(channel, ()).serve()
    finally:
        os._exit(0)


def edited_since(began: float) -> bool:
    """Whether a module of the source is younger than `began` (seconds since the epoch)."""
    return any(
        path.stat().st_mtime > began for folder in ("tasks", "storage") for path in (ROOT / folder).rglob("*.py")
    )


def main() -> None:
    """`python -P -m tasks.warm SOCKET`."""
    if len(sys.argv) != 2:
        sys.exit("give the path of the socket to listen at: python -P -m tasks.warm SOCKET")
    lend(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
