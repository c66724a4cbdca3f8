"""An erasure carried out on the files of a home, from its event alone: whatever of it is done already is done.

What was forgotten is taken out of the shards last, because the texts to look for elsewhere are read from them.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from storage import traces
from storage.erasures import Erased, erased_by
from storage.errors import DamagedShard
from storage.events import COLLECTED, Event
from storage.home import Home, writing
from storage.results import dropped_with
from storage.shards import Shards
from storage.tombstones import Tombstones, texts_in


def carry_out(home: Home, event: Event) -> None:
    """Removes what the event says; raises StorageFault where the system does not let it."""
    erased = erased_by(event.payload)
    if event.kind == COLLECTED:
        for name in event.payload["files"]:
            remove(home, home.root / name)
        _unlink(home, erased)
        return
    left = [one for one in erased if Shards(home).path(one.table, one.digest).is_file()]
    if not left:  # they go last: the rest is done
        return
    for place in dropped_with(home, {one.digest for one in erased}):
        remove(home, place)
    traces.redact(home, forgotten_texts(home, left), event.payload["runs"])
    for spilled in (home.root / "tmp").glob("*"):  # by a DuckDB that was killed
        remove(home, spilled)
    home.lineage_db.unlink(missing_ok=True)
    _unlink(home, left)


def forgotten_texts(home: Home, erased: Iterable[Erased]) -> list[str]:
    """The texts of forgotten rows, as far as their old shards are still there."""
    shards, tombstones = Shards(home), Tombstones.of(home)
    found: dict[str, None] = {}
    for one in erased:
        try:
            found |= dict.fromkeys(texts_in(one.table, shards.table(one.digest, one.table), tombstones))
        except DamagedShard:
            continue
    return list(found)


def remove(home: Home, place: Path) -> None:
    """A file or folder below the home, and never one outside of it."""
    if not place.resolve().is_relative_to(home.root.resolve()) or place.resolve() == home.root.resolve():
        return
    with writing(place):
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)


def _unlink(home: Home, erased: Iterable[Erased]) -> None:
    for one in erased:
        remove(home, Shards(home).path(one.table, one.digest))
