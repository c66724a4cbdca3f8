"""Cached results as the store sees them: small JSON files that name shards and checkpoints.

results/sample-1af0aa0c5d274fc22c20b03149340dcd
{"metadata": {…}, "result": "{\\"key\\": \\"sample-1af0…\\", \\"output\\": {\\"manifests\\": {\\"attempts\\": {\\"shards\\": [\\"8d1f…\\"], …"}
"""

import json
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from storage.home import Home
from storage.manifest import Manifest

_IDS = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class Result:
    """What a cached result says that it made."""

    path: Path
    manifests: tuple[Manifest, ...]
    checkpoint_id: str | None
    read: frozenset[str] = frozenset()
    """Of a result without shards of its own (a likelihood, a loop's health): all that it names, and so what it was made from."""


def ids_in(text: str) -> set[str]:
    """Everything in a text that reads like an id or a digest."""
    return set(_IDS.findall(text))


def results(home: Home) -> Iterator[Result | Path]:
    """Every cached result, in the order of their names; one that cannot be read comes as its path."""
    for path in sorted(home.results.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            output = json.loads(json.loads(path.read_bytes())["result"])["output"]
            manifests = [Manifest(m["table"], tuple(m["shards"]), m["rows"]) for m in output["manifests"].values()]
            checkpoint = output["facts"].get("checkpoint_id")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            yield path
        else:
            read = frozenset() if manifests else frozenset(ids_in(_text(path)))
            yield Result(path, tuple(manifests), checkpoint if isinstance(checkpoint, str) else None, read)


def dropped_with(home: Home, digests: AbstractSet[str]) -> list[Path]:
    """Cached results, journals' and trainings' folders that name one of these shards, as input or output."""
    places = [path for path in home.results.iterdir() if path.is_file()]
    found = [path for path in places if not digests.isdisjoint(ids_in(_text(path)))]
    return found + [
        spec.parent for spec in home.trainings.glob("*/spec.json") if not digests.isdisjoint(ids_in(_text(spec)))
    ]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
