"""Named points at which a process can be made to die, so that what a kill costs is tried out and not argued.

    STARLOOP_FAULT=result-before-write:3 starloop run star --preset addition-smoke

The process that gets to that point for the third time sends itself SIGKILL: the flow's own process, or the child (a training, an
engine, a delivery to MLflow) in whose part of the work the point lies. Each process counts for itself.
`STARLOOP_FAULT_TRACE` names a file to which every point that any of them reaches is appended, `<point> <process id>`, and
`<point> <process id> killed` last: so what was done twice can be counted.

Without these two variables a point costs a look at a constant.
"""

import os
import signal
import threading
from collections import Counter

from storage.errors import UserMistake

POINTS = {
    "run-after-start": "the run's start is an event; no step has begun",
    "task-before-work": "a cell begins: it is no hit",
    "engine-response": "an engine's process has finished a response and not sent it yet",
    "journal-before-append": "the flow has a response that is on no disk",
    "journal-after-append": "the response is in the cell's journal",
    "shard-before-write": "rows are in memory, their shard is not there",
    "shard-before-rename": "the shard is whole under a temporary name",
    "shard-after-rename": "the shard is there, and nothing knows of it",
    "result-before-write": "a cell is done, its shards are there, its result is not",
    "result-before-rename": "the result is whole under a temporary name",
    "result-after-write": "the result is there; the ledger has not heard of it",
    "event-before-write": "a step is done and no event says so",
    "event-before-link": "the event is whole under a temporary name",
    "event-after-write": "the event is there; the database has not heard of it",
    "ingest-before-commit": "rows are in an open transaction of the database",
    "ingest-after-commit": "the database has the step",
    "publish-before-rename": "the new snapshot is whole under a temporary name",
    "publish-after-rename": "the new snapshot is in its place",
    "training-start": "a training process has read what it is to do",
    "training-step": "an optimizer step is done",
    "training-before-seal": "a trainer checkpoint is written and not sealed, so it does not count",
    "training-after-seal": "a trainer checkpoint is complete",
    "training-end": "the last step is done, the model is in memory only",
    "checkpoint-before-result": "the model is written under a temporary name",
    "checkpoint-before-rename": "its figures are there too, it is not",
    "checkpoint-after-rename": "the training has its model in its own folder",
    "checkpoint-before-keep": "the training's figures are recorded, its model is not among the checkpoints",
    "checkpoint-after-keep": "the checkpoint is in its place, and nothing refers to it",
    "iteration-before-record": "the steps of an iteration are done, its figures are in memory",
    "iteration-after-record": "its figures are in the ledger; MLflow's outbox knows nothing of them",
    "outbox-before-put": "a message for MLflow is in memory",
    "outbox-after-put": "the message is in the outbox",
    "mlflow-after-run": "the run is in MLflow, without its parameters and metrics",
    "mlflow-after-metrics": "an iteration's figures are in MLflow; nothing says that they were told",
    "mlflow-before-registration": "a checkpoint's logged model is about to be made",
    "mlflow-after-upload": "its files are in MLflow, and it is not marked as ready",
    "mlflow-after-version": "the version is registered, without its alias",
    "mlflow-after-alias": "the alias is set; nothing says that it was told",
    "mlflow-before-record": "a message was told; nothing says so",
    "mlflow-after-record": "the outbox knows that a message was told",
    "promotion-before-intention": "every gate is passed, and nothing says so",
    "promotion-after-intention": "that the alias is to move is an event; MLflow does not know of it",
    "promotion-after-tags": "the version carries its evidence in MLflow, and the alias has not moved",
    "promotion-after-alias": "the alias has moved in MLflow; the ledger only knows that it was to",
    "promotion-after-done": "the ledger knows that the alias has moved; readers do not",
    "run-before-finish": "everything is done; the run's end is no event yet",
    "run-after-finish": "the run's end is in the ledger; MLflow does not know of it",
}
"""Every point, and what is true there."""

_counts: Counter[str] = Counter()
_lock = threading.Lock()


def arm() -> None:
    """Takes in what the environment asks for: once on import, and again in a process that was given another one."""
    global _asked, _trace, _watched
    _asked, _trace = os.environ.get("STARLOOP_FAULT"), os.environ.get("STARLOOP_FAULT_TRACE")
    _watched = bool(_asked or _trace)


arm()


def reached(point: str) -> None:
    """Says that this process is at a point; it does not come back from the one that it was asked to die at."""
    if _watched:
        _arrive(point)


def check() -> None:
    """Raises UserMistake when STARLOOP_FAULT names no point or no number."""
    if _asked:
        point, _, number = _asked.partition(":")
        if point not in POINTS:
            raise UserMistake(f"STARLOOP_FAULT names no point {point!r}; there are: {', '.join(POINTS)}")
        if not number.isdigit() or int(number) < 1:
            raise UserMistake(f"STARLOOP_FAULT={_asked} does not fit; write {point}:1 to die there the first time")


def _arrive(point: str) -> None:
    with _lock:
        _counts[point] += 1
        if _trace:
            _say(_trace, f"{point} {os.getpid()}\n")
        if f"{point}:{_counts[point]}" == _asked:
            if _trace:
                _say(_trace, f"{point} {os.getpid()} killed\n")
            os.write(2, f"killed itself at {_asked}, as STARLOOP_FAULT asked\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)


def _say(path: str, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
