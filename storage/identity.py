"""Content identity: what a thing is called is a digest of what it is.

>>> content_id("problem", source="addition", question="2+2", gold="4")
'4a7e…'                                             # 32 hex digits: a UUID, stored as one
>>> show("att", content_id("problem", ...))
'att_4a7e…'                                         # the prefix is for people, never stored
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

PREFIXES = {
    "att": "attempt",
    "ckp": "checkpoint",
    "evl": "evaluation",
    "exm": "example",
    "mix": "mix",
    "nod": "node",
    "prb": "problem",
    "pmt": "prompt",
    "prm": "promotion",
    "run": "run",
    "stp": "step",
    "tre": "tree",
    "trn": "training",
    "vrd": "verdict",
}
"""What each shown prefix names."""


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, exact floats.

    Takes None, bool, int, float, str, lists, tuples and mappings with string keys. Raises TypeError for anything
    else and ValueError for NaN and infinities, so that nothing enters a digest by its memory address.
    """
    return _ENCODER.encode(_plain(value))


def digest(*parts: Any) -> str:
    """32 hex digits (128 bits of BLAKE2b) of the parts' canonical JSON."""
    return hashlib.blake2b(canonical_json(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def digest_bytes(data: bytes) -> str:
    """32 hex digits of raw bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def content_id(kind: str, **fields: Any) -> str:
    """The id of a thing of this kind with exactly these fields."""
    return digest(kind, fields)


def show(prefix: str, identity: str) -> str:
    """An id as people see it: `att_` and 32 hex digits."""
    return f"{prefix}_{identity}"


def bare(shown: str) -> str:
    """The stored form of an id that a person typed, with or without prefix and dashes; lower case."""
    prefix, separator, rest = shown.strip().partition("_")
    text = rest if separator and prefix in PREFIXES else shown.strip()
    return text.replace("-", "").lower()


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if type(value) in (str, int, bool, type(None)):
        return value
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{value!r} cannot be part of an identity; give a finite number")
            return value
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                raise TypeError("a mapping in an identity needs string keys")
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            raise TypeError(f"a {type(value).__name__} cannot be part of an identity; pass plain JSON values")
