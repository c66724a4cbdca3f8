"""A process that has imported torch, transformers and TRL once, and forks a child for every training or engine.

    python -P -m tasks.zygote engine training    # standard input is a Unix socket to whoever wants children

It reads JSON lines, each `start` with one file descriptor: the child's own connection to whoever asked.

    {"start": 7, "target": "tasks.training.sft:run", "arguments": ["…/spec.json"], "log": "…/training.log", "threads": 2}
    {"kill": 7}

and answers `{"ready": "training", "seconds": 11.2}`, `{"started": 7, "pid": 4242}`, `{"exited": 7, "status": -9}`. It ends when
the socket does, that is when its parent is gone however it went, and its children end with it.

A process may only be forked while it has one thread. Where a library has started another, or without fork, or once a GPU
was touched, or with STARLOOP_FORK=0 in the environment, the child is a fresh interpreter: slower to start, otherwise
the same.
"""

import contextlib
import ctypes
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

PRELOAD = {
    "engine": ("torch", "numpy", "safetensors.torch", "transformers.models.auto.modeling_auto",
               "transformers.models.auto.tokenization_auto", "transformers.models.llama.modeling_llama",
               "transformers.cache_utils"),
    "training": ("pyarrow.parquet", "datasets", "peft", "tasks.training.trainer", "tasks.training.sft"),
    "tracking": ("mlflow", "mlflow.store.tracking.sqlalchemy_store"),
    "verifying": ("math_verify", "tasks.verifiers.worker", "tasks.verifiers.math_answer:warm"),
}  # fmt: skip
"""What is imported ahead, by stage: an engine need not wait for the trainer's imports. After a colon: what is then called."""


class Zygote:
    """The children, and the socket over which they are asked for."""

    def __init__(self, channel: socket.socket, stages: Sequence[str]) -> None:
        self.channel = channel
        self.stages = stages
        self.children: dict[int, int] = {}
        self.waiting: list[tuple[dict[str, Any], int]] = []
        self.descriptors: list[int] = []
        self.buffer = b""
        self.ready = set(PRELOAD) - set(stages)
        self.woken, self.waker = os.pipe()
        os.set_blocking(self.waker, False)
        os.set_blocking(self.woken, False)
        self.selector = selectors.DefaultSelector()

    def serve(self) -> None:
        """Imports, then answers until the other end is closed."""
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        self.selector.register(self.channel, selectors.EVENT_READ)
        self.selector.register(self.woken, selectors.EVENT_READ)
        try:
            for stage in self.stages:
                seconds = import_ahead(stage)
                self.ready.add(stage)
                self._tell(ready=stage, seconds=seconds)
                self._turn(timeout=0)
            while True:
                self._turn(timeout=None)
        except (EOFError, ConnectionError):
            pass
        finally:
            self._kill_all()

    def _turn(self, timeout: float | None) -> None:
        """Reads what has come, starts what can be started, reports what has ended."""
        for key, _ in self.selector.select(timeout):
            if key.fd == self.woken:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.woken, 4096)
            else:
                self._receive()
        still: list[tuple[dict[str, Any], int]] = []
        for request, descriptor in self.waiting:
            if request.get("needs", "training") in self.ready:
                self._start(request, descriptor)
            else:
                still.append((request, descriptor))
        self.waiting = still
        self._reap()

    def _receive(self) -> None:
        data, descriptors, _, _ = socket.recv_fds(self.channel, 65536, 64)
        if not data:
            raise EOFError
        self.descriptors.extend(descriptors)
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            request = json.loads(line)
            if "start" in request:
                self.waiting.append((request, self.descriptors.pop(0)))
            elif "kill" in request:
                self._kill(request["kill"])

    def _start(self, request: dict[str, Any], descriptor: int) -> None:
        number = request["start"]
        if _may_fork():
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                self._leave_zygote(descriptor)
                _child(request, descriptor, parent)
        else:
            command = [sys.executable, "-P", "-m", "tasks.zygote", "child", str(descriptor), json.dumps(request)]
            pid = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[descriptor], process_group=0
            ).pid  # reaped by `_reap`, by its id
        os.close(descriptor)
        self.children[number] = pid
        self._tell(started=number, pid=pid)

    def _leave_zygote(self, descriptor: int) -> None:
        """In the child: nothing of the zygote's stays open, so that neither end of a connection is kept alive here."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.selector.close()
        for other in {self.woken, self.waker, *self.descriptors, *(held for _, held in self.waiting)} - {descriptor}:
            with contextlib.suppress(OSError):
                os.close(other)
        self.channel.close()

    def _reap(self) -> None:
        for number, pid in list(self.children.items()):
            with contextlib.suppress(ChildProcessError):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    del self.children[number]
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(pid, signal.SIGKILL)  # what the child started and left behind
                    self._tell(exited=number, status=os.waitstatus_to_exitcode(status))

    def _kill(self, number: int | None) -> None:
        """Kills one child (or all, None) with everything it started; one that was not started yet never is."""
        for request, descriptor in self.waiting:
            if number in (None, request["start"]):
                os.close(descriptor)
                self._tell(exited=request["start"], status=-int(signal.SIGKILL))
        self.waiting = [] if number is None else [pair for pair in self.waiting if pair[0]["start"] != number]
        for child, pid in self.children.items():
            if number in (None, child):
                # The group may not exist yet in the child's first instant; the process always does.
                for kill in (os.killpg, os.kill):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        kill(pid, signal.SIGKILL)

    def _kill_all(self) -> None:
        with contextlib.suppress(OSError):
            self._kill(None)

    def _tell(self, **message: Any) -> None:
        self.channel.sendall(json.dumps(message).encode() + b"\n")


def import_ahead(stage: str) -> float:
    """Imports what a stage needs; the seconds that took."""
    began = time.perf_counter()
    with _ends_with_parent():
        for name in PRELOAD[stage]:
            module, _, function = name.partition(":")
            # A library that is broken or absent is reported by the child that needs it.
            with contextlib.suppress(ImportError):
                imported = importlib.import_module(module)
                if function:
                    getattr(imported, function)()
    return time.perf_counter() - began


def _child(request: dict[str, Any], descriptor: int, parent: int | None) -> NoReturn:
    """Runs the target in this process and ends it; the exit code is 0 only if the answer was given."""
    code = 1
    try:
        _end_with(parent)
        if parent is not None:
            os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.close(nothing)
        os.close(log)
        connection = Connection(descriptor)
        code = _answer(request, connection)
    except BaseException:  # noqa: BLE001 - the last frame of a process: what is not in its log is lost
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # nothing of the zygote's is to be cleaned up twice


def _answer(request: dict[str, Any], connection: Connection) -> int:
    """Calls the target; a mistake that is a sentence for people is passed on as one, everything else stays in the log."""
    from storage.errors import StarloopError

    if threads := request.get("threads"):
        os.environ["OMP_NUM_THREADS"] = str(threads)
        if "torch" in sys.modules:  # in a fresh interpreter it will read the variable
            sys.modules["torch"].set_num_threads(threads)
    module, _, name = request["target"].partition(":")
    target = getattr(importlib.import_module(module), name)
    connection.send({"began": os.getpid()})
    if request.get("serves"):
        target(connection, *request["arguments"])
        return 0
    options = {"progress": lambda message: connection.send({"progress": message})} if request.get("progress") else {}
    try:
        answer = target(*request["arguments"], **options)
    except StarloopError as error:
        traceback.print_exc()
        connection.send({"fault": type(error).__name__, "sentence": str(error)})
        return 1
    connection.send({"answer": answer})
    return 0


def _may_fork() -> bool:
    if not hasattr(os, "fork") or os.environ.get("STARLOOP_FORK") == "0":
        return False
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return False
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return threading.active_count() == 1 and sys.platform != "darwin"  # Apple's own libraries do not survive a fork
    return "\nThreads:\t1\n" in status


def _end_with(parent: int | None) -> None:
    """Makes the kernel kill this process when its parent ends; elsewhere than on Linux a thread looks every second."""
    expected = os.getppid() if parent is None else parent
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    else:
        threading.Thread(target=_look, args=(expected, threading.Event(), 1.0), daemon=True).start()
    if os.getppid() != expected:  # it ended before the line above
        os._exit(1)


@contextlib.contextmanager
def _ends_with_parent() -> Any:
    """While the zygote is busy importing it cannot see its socket close; a thread looks, and is gone before any fork."""
    done = threading.Event()
    watcher = threading.Thread(target=_look, args=(os.getppid(), done, 0.2))
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _look(parent: int, done: threading.Event, every: float) -> None:
    while not done.wait(every):
        if os.getppid() != parent:
            os._exit(1)


def main() -> None:
    """The zygote itself, or (with a descriptor and a request) one child of it in a fresh interpreter."""
    # The user's own modules come last, so that a `tasks.py` in the working directory shadows nothing.
    sys.path.append(os.getcwd())
    if sys.argv[1:2] == ["child"]:
        _child(json.loads(sys.argv[3]), int(sys.argv[2]), None)
    channel = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    Zygote(channel, sys.argv[1:]).serve()


if __name__ == "__main__":
    main()
