"""One small file for every decision that is no row: a run or a step committed, a promotion, an adoption, an erasure.

    events/000000000042.json
    {"at":"2026-01-31T12:00:00.123456Z","kind":"run_finished","payload":{"run_id":"…","state":"completed","facts":{}}}

The number in the name is the order, and is taken by creating the name, so two processes can never share one and no
clock is trusted for it. A file is on the disk before anything is made from it, and is never changed.
"""

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.errors import StorageFault
from storage.faults import reached
from storage.home import Home, removed_on_failure, sync_folder, temporary_beside, write_synced, writing
from storage.identity import canonical_json

RUN_STARTED = "run_started"
RUN_FINISHED = "run_finished"
STEP_COMMITTED = "step_committed"
COLLECTED = "collected"
FORGOTTEN = "forgotten"
PROMOTION_INTENDED = "promotion_intended"
PROMOTED = "promoted"
PROMOTION_REFUSED = "promotion_refused"
PROMOTION_ABANDONED = "promotion_abandoned"
PROMOTION_NOTICED = "promotion_noticed"
PROMOTING = {
    PROMOTION_INTENDED: "intended",
    PROMOTED: "done",
    PROMOTION_REFUSED: "refused",
    PROMOTION_ABANDONED: "abandoned",
    PROMOTION_NOTICED: "noticed",
}
"""Kinds that are rows of `promotion`, each with the state it means there."""
ERASING = (COLLECTED, FORGOTTEN)
"""Kinds that take something out of the store again: see `storage.erasures`."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that has not happened yet."""

    kind: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: `seq` is its place in the order of all, `at` is UTC."""

    seq: int
    kind: str
    at: datetime
    payload: dict[str, Any]


class Events:
    """The events of one home."""

    def __init__(self, home: Home) -> None:
        self.folder = home.events

    def append(self, kind: str, payload: Mapping[str, Any], at: datetime | None = None) -> Event:
        """Records one event, durably. `payload` is plain JSON without NaN (TypeError, ValueError otherwise)."""
        return self.append_all([Draft(kind, payload)], after=self.last(), at=at)[0]

    def append_all(self, drafts: Sequence[Draft], after: int, at: datetime | None = None) -> list[Event]:
        """Records several, in order, at one time, with numbers greater than `after`; a kill leaves the first of them."""
        moment = (at or datetime.now(UTC)).astimezone(UTC)
        texts = [canonical_json({"at": _stamp(moment), "kind": d.kind, "payload": d.payload}) for d in drafts]
        recorded: list[Event] = []
        seq = after
        reached("event-before-write")
        for draft, text in zip(drafts, texts, strict=True):
            seq = self._create(seq + 1, text.encode())
            recorded.append(Event(seq, draft.kind, moment, json.loads(text)["payload"]))
        with writing(self.folder):
            sync_folder(self.folder)
        reached("event-after-write")
        return recorded

    def all(self) -> Iterator[Event]:
        """Every event, in order. Raises StorageFault for a file that is no event."""
        return self.after(0)

    def after(self, seq: int) -> Iterator[Event]:
        """The events with a greater number, in order, found by listing the folder."""
        return (self.read(number) for number in self.numbers() if number > seq)

    def following(self, seq: int) -> Iterator[Event]:
        """As `after`, up to the first free number: no listing, so its cost does not grow with the history."""
        while self.path(seq + 1).is_file():
            seq += 1
            yield self.read(seq)

    def last(self) -> int:
        """The number of the last event, 0 before the first."""
        return max(self.numbers(), default=0)

    def path(self, seq: int) -> Path:
        return self.folder / f"{seq:012d}.json"

    def read(self, seq: int) -> Event:
        """One event. Raises StorageFault if the file is not one."""
        path = self.path(seq)
        try:
            document = json.loads(path.read_bytes())
            moment = datetime.fromisoformat(document["at"]).astimezone(UTC)
            return Event(seq, document["kind"], moment, document["payload"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StorageFault(f"{path} is no event ({error}); restore it from a copy of the home") from error

    def numbers(self) -> list[int]:
        """The number of every event file, ascending."""
        return sorted(int(entry.stem) for entry in self.folder.glob("*.json") if entry.stem.isdigit())

    def _create(self, seq: int, data: bytes) -> int:
        temporary = temporary_beside(self.path(seq))
        with writing(self.path(seq)), removed_on_failure(temporary):
            write_synced(temporary, data)
            reached("event-before-link")
            while not _claim(temporary, self.path(seq)):
                seq += 1
            temporary.unlink(missing_ok=True)
        return seq


def _claim(temporary: Path, path: Path) -> bool:
    """Gives the file its name unless the name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        # A filesystem without hard links: the ledger's lock, which its writers hold, makes this safe.
        if path.exists():
            return False
        os.replace(temporary, path)
    return True


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
