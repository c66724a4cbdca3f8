"""Child processes for trainings and engines, which end when this process does, however it ends.

    with Processes(home.logs) as processes:          # starts to import a trainer, in the background
        result = processes.call("tasks.training.sft:run", "spec.json", log=home.logs / "training.log", threads=2)
        with processes.engine("transformers", folder, log=home.logs / "engine.log") as engine:
            for response in engine.generate(requests, sampling): ...

Usable from several threads. One zygote (see `tasks.zygote`; with STARLOOP_WARM one that is lent, see
`tasks.warm`) forks every child, so that none pays for the imports.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import storage.errors
from storage.errors import EngineFault, StarloopError, TrainingFault
from tasks.engine_process import EngineProcess
from tasks.engines import worker
from tasks.warm import borrow

_LOG_LINES = 5
"""How much of a dead child's log its error quotes."""

ENVIRONMENT = {
    # A thread made while importing would keep the zygote from forking; children ask for their own.
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "TOKENIZERS_PARALLELISM": "false",
    # OpenMP's threads spin while they wait; with more processes than cores a step was seen to take 14 times as long.
    "OMP_WAIT_POLICY": "passive",
    # Asks the driver instead of opening the device, so that `torch.cuda.is_available()` leaves the zygote forkable.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "TRANSFORMERS_VERBOSITY": "error",
    "PYTHONUNBUFFERED": "1",
}
"""For the zygote and its children, where the user has not said otherwise."""


@dataclass
class _Child:
    """What the zygote has said about one child."""

    pid: int | None = None
    status: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)


class Processes:
    """The children of one run. `cancelled` is set once they have been killed on purpose; nothing starts after that."""

    def __init__(self, logs: Path, preload: Sequence[str] = ("engine", "training", "tracking")) -> None:
        """`logs` is the folder for log files; `preload` names what to import ahead (nothing is right for light targets)."""
        self.logs = logs
        self.preload = tuple(preload)
        self.cancelled = threading.Event()
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._zygote: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._listener: threading.Thread | None = None
        self._children: dict[int, _Child] = {}
        self._numbers = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Starts the zygote if it is not there; returns at once, while it imports. Whatever needs it starts it, too."""
        with self._lock:
            self._ensure()

    def call(
        self,
        target: str,
        *arguments: Any,
        log: Path | None = None,
        threads: int = 0,
        progress: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """What the function `module:name` gives back, run in a child of its own; arguments and answer are JSON values.

        `progress` is called with what the target reports (the target then takes a `progress` function). `startup_s` in the
        answer, if there is one, then includes what passed before the target began. Raises what the target raised if that is a
        StarloopError; a TrainingFault (EngineFault outside `tasks.training`) with the end of the log if the child died.
        """
        fault = TrainingFault if target.startswith("tasks.training") else EngineFault
        asked = time.perf_counter()
        log = log or self.logs / f"{target.rpartition(':')[0].rpartition('.')[2]}-{os.getpid()}.log"
        package = target.partition(":")[0].partition(".")[2].partition(".")[0].partition("_")[0]
        needs = package if package in ("training", "tracking") else "engine"
        number, connection = self.spawn(target, arguments, log, threads, needs=needs, progress=progress is not None)
        began = asked
        over = False
        try:
            while True:
                message = connection.recv()
                if "began" in message:
                    began = time.perf_counter()
                elif "progress" in message:
                    if progress is not None:
                        progress(message["progress"])
                elif "fault" in message:
                    over = True
                    raise _fault(message)
                else:
                    over = True
                    answer: dict[str, Any] = message["answer"]
                    if "startup_s" in answer:
                        answer["startup_s"] += began - asked
                    return answer
        except (EOFError, ConnectionError):
            over = True
            raise self.death(number, target, log, fault) from None
        finally:
            connection.close()
            if not over:  # the caller was interrupted: nobody waits for the answer any more
                self.kill(number)
            self.forget(number)

    def engine(self, ref: str, model: Path | str, *, threads: int = 1, log: Path | None = None) -> EngineProcess:
        """An engine with the model loaded, in a process of its own; returns when it can generate."""
        log = log or self.logs / f"engine-{os.getpid()}.log"
        asked = time.perf_counter()
        number, connection = self.spawn("tasks.engines.worker:serve", (), log, threads, needs="engine", serves=True)
        return EngineProcess(self, number, connection, log, asked, worker.Open(ref, model))

    def cancel(self) -> None:
        """Kills every child now, and lets no other start."""
        self.cancelled.set()
        with self._lock, contextlib.suppress(OSError):
            self._send({"kill": None})

    def close(self) -> None:
        """Ends the zygote and all children."""
        with self._lock:
            zygote, channel, listener = self._zygote, self._channel, self._listener
            self._zygote = self._channel = self._listener = None
        if channel is None or listener is None:
            return
        with contextlib.suppress(OSError):
            channel.shutdown(socket.SHUT_WR)
        if zygote is None:
            listener.join(timeout=3)
            channel.close()
            return
        try:
            zygote.wait(timeout=3)
        except subprocess.TimeoutExpired:  # still importing, and deaf
            zygote.kill()
            zygote.wait()
        channel.close()

    def _ensure(self) -> None:
        if self._channel is not None and (self._zygote is None or self._zygote.poll() is None):
            return
        self._let_go()
        self.logs.mkdir(parents=True, exist_ok=True)
        root = str(Path(__file__).resolve().parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = ENVIRONMENT | os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        with (self.logs / "zygote.log").open("ab") as log:
            channel = borrow(environment, log.fileno()) if self.preload else None
            if channel is None:
                channel, theirs = socket.socketpair()
                with theirs:
                    self._zygote = subprocess.Popen(
                        [sys.executable, "-P", "-m", "tasks.zygote", *self.preload],
                        stdin=theirs.fileno(), stdout=log, stderr=log, start_new_session=True, env=environment,
                    )  # fmt: skip
        self._channel = channel
        self._children = {}
        self._listener = threading.Thread(
            target=self._listen, args=(channel, self._children), name="zygote", daemon=True
        )
        self._listener.start()

    def _let_go(self) -> None:
        """Of a zygote that is gone, or does not answer."""
        if self._zygote is not None:
            self._zygote.kill()
            self._zygote.wait()
            self._zygote = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _listen(self, channel: socket.socket, children: dict[int, _Child]) -> None:
        """Takes in what the zygote says, until it has nothing more to say; then all its children are gone too."""
        with contextlib.suppress(OSError), channel.makefile("rb") as lines:
            for line in lines:
                message = json.loads(line)
                if "ready" in message:
                    self.seconds[message["ready"]] = message["seconds"]
                    continue
                with self._lock:
                    child = children.get(message.get("started", message.get("exited", -1)))
                if child is not None:
                    if "started" in message:
                        child.pid = message["pid"]
                    else:
                        child.status = message["status"]
                        child.ended.set()
        with self._lock:
            left = list(children.values())
        for child in left:
            child.ended.set()

    def spawn(
        self, target: str, arguments: Sequence[Any], log: Path, threads: int, *, needs: str, progress: bool = False,
        serves: bool = False,
    ) -> tuple[int, Connection]:  # fmt: skip
        if self.cancelled.is_set():
            raise _cancelled(target)
        log.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            self._ensure()
            self._numbers += 1
            number = self._numbers
            self._children[number] = _Child()
            request = {
                "start": number, "target": target, "arguments": list(arguments), "log": str(log), "threads": threads,
                "needs": needs, "progress": progress, "serves": serves,
            }  # fmt: skip
            try:
                self._send(request, theirs.fileno())
            except OSError:  # the zygote has just died; a new one can do it
                self._let_go()
                self._ensure()
                self._children[number] = _Child()
                self._send(request, theirs.fileno())
        return number, Connection(ours.detach())

    def _send(self, message: dict[str, Any], descriptor: int | None = None) -> None:
        if self._channel is None:
            return
        line = json.dumps(message).encode() + b"\n"
        if descriptor is None:
            self._channel.sendall(line)
            return
        sent = socket.send_fds(self._channel, [line], [descriptor])
        self._channel.sendall(line[sent:])

    def kill(self, number: int) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._send({"kill": number})

    def forget(self, number: int) -> None:
        with self._lock:
            self._children.pop(number, None)

    def status(self, number: int) -> int | None:
        """How a child that is ending ended, as `waitpid` says it; None if nobody can tell."""
        with self._lock:
            child = self._children.get(number)
        if child is None:
            return None
        child.ended.wait(timeout=5)
        return child.status

    def death(self, number: int, what: str, log: Path, fault: type[StarloopError]) -> StarloopError:
        """The sentence for a child that is gone without an answer."""
        if self.cancelled.is_set():
            return _cancelled(what)
        status = self.status(number)
        how = "ended" if status is None else f"exited with status {status}"
        if status is not None and status < 0:
            how = f"was killed by {signal.Signals(-status).name}"
            if status == -signal.SIGKILL:
                how += " (out of memory, if nobody did it)"
        return fault(f"the process of {what} {how}; the end of {log}:{_tail(log)}")


def _fault(message: Mapping[str, str]) -> StarloopError:
    """The error a child told about, as the class it was there."""
    kind = getattr(storage.errors, message["fault"], EngineFault)
    return kind(message["sentence"])


def _cancelled(what: str) -> StarloopError:
    fault = TrainingFault if what.startswith("tasks.training") else EngineFault
    return fault(f"{what} was cancelled")


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return " (it could not be read)"
    kept = [line for line in lines if line.strip()][-_LOG_LINES:]
    return "".join(f"\n    {line}" for line in kept) or " (it is empty)"
