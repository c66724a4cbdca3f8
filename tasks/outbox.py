"""What MLflow is to be told, one small file a message, kept until it has been: so a run never waits for MLflow.

    <home>/outbox/000003-iteration-5e0c…-91af….json
    {"fields": {"at": "2026-03-01T10:00:00+00:00", "metrics": {"held_out_accuracy": 0.61}, …}, "kind": "iteration", "to": "home"}
    <home>/outbox/delivered/000003-iteration-5e0c…-91af….json
    {"results": {"iteration_id": "it…", "run_id": "d7bf…"}, "to": "home"}

The name holds the order, the kind, what the message is about, and a digest of what it says. Putting what was last said
about the same thing is a no-op, whatever its times and durations: the first recorded ones stand. A message belongs to the server
that was configured when it was put. Not covered: two homes telling one server about the same checkpoint at the same
moment may register it twice.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from storage.errors import StorageFault
from storage.faults import reached
from storage.home import atomic_write, writing
from storage.identity import digest
from tasks.tracking_messages import Loop, Message, Registration, content, message, said
from tasks.tracking_server import HOME, destination, moved


@dataclass(frozen=True, slots=True)
class Delivered:
    """What MLflow made of the messages: run ids by loop or iteration id, versions by (model name, checkpoint id)."""

    runs: Mapping[str, str]
    experiments: Mapping[str, str]
    versions: Mapping[tuple[str, str], int]

    def version(self, checkpoint_id: str, model_name: str | None = None) -> int | None:
        """The registered version of a checkpoint, under any name if none is given; None when it is not delivered."""
        for (name, checkpoint), version in self.versions.items():
            if checkpoint == checkpoint_id and model_name in (None, name):
                return version
        return None


def put(home_root: Path, news: Message, tracking_uri: str | None = None) -> bool:
    """Leave a message for MLflow; False when it is what was last said about the same thing. Durable on return."""
    outbox = Outbox(home_root)
    to = destination(home_root, tracking_uri)
    says = said(news, outbox.root)
    about = digest(news.KIND, to, {name: says[name] for name in news.SUBJECT})[:16]
    what = digest(news.KIND, to, content(says))
    text = json.dumps({"kind": news.KIND, "to": to, "fields": says}, sort_keys=True, ensure_ascii=False, indent=1)
    reached("outbox-before-put")
    with outbox.held("put"):  # two runs that say the same at the same time say it once
        names = outbox.names()
        last = next((name for name in reversed(names) if name.split("-")[2] == about), None)
        if last is not None and last.split("-")[3] == what:
            return False
        order = int(names[-1].split("-")[0]) + 1 if names else 1
        atomic_write(outbox.folder / f"{order:06d}-{news.KIND}-{about}-{what}.json", text.encode())
    reached("outbox-after-put")
    return True


def waits(home_root: Path, tracking_uri: str | None = None) -> bool:
    """Whether a delivery would have anything to do."""
    to = destination(home_root, tracking_uri)
    return bool(Outbox(home_root).waiting(to)) or (to == HOME and moved(home_root))


def results(home_root: Path, tracking_uri: str | None = None) -> Delivered:
    """What has been delivered to this server so far."""
    outbox, to = Outbox(home_root), destination(home_root, tracking_uri)
    runs: dict[str, str] = {}
    experiments: dict[str, str] = {}
    versions: dict[tuple[str, str], int] = {}
    for name in sorted(outbox.delivered_names()):
        record = json.loads((outbox.delivered / f"{name}.json").read_bytes())
        made = record["results"]
        if record["to"] != to:
            continue
        match name.split("-")[1]:
            case "loop":
                runs[made["loop_id"]] = made["run_id"]
                experiments[made["loop_id"]] = made["experiment_id"]
            case "iteration":
                runs[made["iteration_id"]] = made["run_id"]
            case "checkpoint":
                versions[made["model_name"], made["checkpoint_id"]] = made["version"]
    return Delivered(runs, experiments, versions)


@dataclass(frozen=True, slots=True)
class Outbox:
    """The files under `<home>/outbox`."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "outbox"

    @property
    def delivered(self) -> Path:
        return self.folder / "delivered"

    def names(self) -> list[str]:
        """Every message's name, in the order they were put."""
        return _names(self.folder)

    def delivered_names(self) -> set[str]:
        return set(_names(self.delivered))

    def waiting(self, to: str) -> list[str]:
        """Names of the messages for this destination that its MLflow has not been told, in order."""
        done = set() if self.lost(to) else self.delivered_names()
        return [name for name in self.names() if name not in done and self._to(name) == to]

    def lost(self, to: str) -> bool:
        """Whether the home's own store is not there, so that what was delivered to it is gone."""
        return to == HOME and not (self.root / "mlflow.db").exists()

    def forget(self, to: str) -> None:
        """Drop the records of what was delivered to this destination."""
        for name in self.delivered_names():
            if json.loads((self.delivered / f"{name}.json").read_bytes())["to"] == to:
                (self.delivered / f"{name}.json").unlink()

    def read(self, name: str) -> Message:
        """The message, its paths below this home as it lies now."""
        try:
            stored = json.loads((self.folder / f"{name}.json").read_bytes())
            return message(stored["kind"], stored["fields"], self.root)
        except (ValueError, KeyError, TypeError) as fault:
            raise StorageFault(
                f"outbox/{name}.json cannot be read as a message ({fault}); delete it, the next run puts it again"
            ) from fault

    def loop(self, loop_id: str, to: str) -> Loop | None:
        """What was last put about a loop for this destination."""
        about = digest(Loop.KIND, to, {"loop_id": loop_id})[:16]
        name = next((name for name in reversed(self.names()) if name.split("-")[2] == about), None)
        found = self.read(name) if name else None
        return found if isinstance(found, Loop) else None

    def registered_later(self, name: str, to: str, model_name: str, alias: str) -> bool:
        """Whether a registration put after this one has already set the alias; then this one must not take it back."""
        later = (other for other in self.delivered_names() if other > name and other.split("-")[1] == Registration.KIND)
        records = (json.loads((self.delivered / f"{other}.json").read_bytes()) for other in later)
        return any(
            record["to"] == to and (record["results"]["model_name"], record["results"]["alias"]) == (model_name, alias)
            for record in records
        )

    def record(self, name: str, to: str, made: Mapping[str, object]) -> None:
        """Write down that a message was delivered, and what MLflow made of it."""
        reached("mlflow-before-record")
        self.delivered.mkdir(parents=True, exist_ok=True)
        text = json.dumps(
            {"to": to, "delivered_at": datetime.now(UTC).isoformat(), "results": dict(made)}, sort_keys=True
        )
        atomic_write(self.delivered / f"{name}.json", text.encode())
        reached("mlflow-after-record")

    @contextlib.contextmanager
    def held(self, lock_name: str, patience_s: float = 60.0) -> Iterator[None]:
        """One process at a time in a home puts, or delivers; a lock goes with its process. Raises StorageFault when patience ends."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            opened = (self.folder / f"{lock_name}.lock").open("w")
        with opened as lock:
            deadline = time.monotonic() + patience_s
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StorageFault(
                            f"another process has been telling MLflow about {self.root} for over {patience_s:.0f} s; "
                            "what waits is told with the next delivery"
                        ) from None
                    time.sleep(0.1)
            yield

    def _to(self, name: str) -> str | None:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return json.loads((self.folder / f"{name}.json").read_bytes())["to"]
        return HOME


def _names(folder: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        stems = (entry.name.removesuffix(".json") for entry in entries if entry.name.endswith(".json"))
        return sorted(stem for stem in stems if stem.count("-") == 3 and stem[:6].isdigit())
    return []
