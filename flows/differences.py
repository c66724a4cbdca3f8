"""What differs between two keys, in words: what `starloop why` and `starloop plan` give as the reason for work.

>>> differences(before, after)
[Difference(kind='argument', what='recipe.learning_rate', before='0.0001', after='0.0002')]
[Difference(kind='code', what='tasks.verifiers.sums', before='3f2a…', after='91c0…')]
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage.history import leaves

ARGUMENT, ROWS, CODE, LIBRARY, TEXT, FILE = "argument", "rows", "code", "library", "text", "file"
OUTSIDE = frozenset({CODE, LIBRARY, TEXT, FILE})
"""Kinds that are no setting: what changed beside the run."""

IDS = {
    "checkpoint_id": "checkpoint",
    "weights_digest": "checkpoint",
    "base_checkpoint_id": "base checkpoint",
    "mix_id": "mix",
}
"""Arguments that name content: what they are called in words."""

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Difference:
    """One part of a key that is not what it was; `before` or `after` is None where it was not there."""

    kind: str
    what: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        match self.kind:
            case "rows":
                return f"other {self.what}"
            case "code":
                return f"the code of {self.what}"
            case "text":
                return f"the text of the {self.what} prompts"
            case "file":
                return f"the file {self.what}"
            case _:
                return f"{self.what} {_cut(self.before)} → {_cut(self.after)}"


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """The parts of the key `after` that are not those of `before`, arguments first."""
    old, new = dict(leaves(before)), dict(leaves(after))
    paths = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    found = {_difference(path, old.get(path), new.get(path), after) for path in paths}
    order = [ARGUMENT, ROWS, TEXT, FILE, CODE, LIBRARY]
    return sorted(found, key=lambda one: (order.index(one.kind), one.what))


def _difference(path: tuple[str, ...], before: str | None, after: str | None, parts: Mapping[str, Any]) -> Difference:
    match path:
        case ("arguments", name, *rest):
            if _is_rows(before) or _is_rows(after) or rest[-1:] == ["outcomes"]:
                return Difference(ROWS, name, None, None)
            if _is_id(before) or _is_id(after):
                return Difference(ROWS, IDS.get(name, name), None, None)
            shown = ".".join([name, *rest]) if rest else name
            return Difference(ARGUMENT, shown, _plain(before), _plain(after))
        case ("code", module) | ("ingredients", _, "modules", module) | ("ingredients", _, "code", "modules", module):
            return Difference(CODE, module, before, after)
        case ("ingredients", _, "libraries", name) | ("ingredients", _, "code", "libraries", name):
            return Difference(LIBRARY, name, _plain(before), _plain(after))
        case ("ingredients", name, "text"):
            return Difference(TEXT, str(parts["arguments"].get(name, name)), before, after)
        case ("ingredients", _, "files", name):
            return Difference(FILE, name, before, after)
        case _:
            return Difference(ARGUMENT, ".".join(path), _plain(before), _plain(after))


def _is_rows(value: str | None) -> bool:
    """Whether it is a manifest, or a list of records that hold some."""
    if value is None or not value.startswith("["):
        return False
    found = json.loads(value)
    return bool(found) and (
        (len(found) == 2 and isinstance(found[0], str) and isinstance(found[1], list))
        or any(isinstance(one, Mapping) and any(_is_manifest(part) for part in one.values()) for one in found)
    )


def _is_id(value: str | None) -> bool:
    text = (value or "").strip('"')
    return len(text) == 32 and all(digit in "0123456789abcdef" for digit in text)


def _is_manifest(value: object) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"table", "shards", "rows"}


def _plain(value: str | None) -> str | None:
    if value is None:
        return None
    found = json.loads(value)
    return found if isinstance(found, str) else value


def _cut(value: str | None) -> str:
    if value is None:
        return "(nothing)"
    return value if len(value) <= _SHOWN else f"{value[: _SHOWN - 1]}…"
