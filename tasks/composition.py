"""A training set as it grows: examples and evidence go into shards as they come, and what stays in memory of each is its id.

Members are shuffled by seed and named by content, so the same candidates in the same order are the same mix, whatever
cells or shards they came in. Examples are stored in the order in which they came.
"""

import hashlib
import random
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.id_tally import IdArray, IdTally, id_array
from storage.identity import canonical_json
from storage.manifest import Accounting, Output
from storage.records import Example, ExampleEvidence, Mix
from storage.shards import Shards

SAMPLED, RATIONALIZED, ORIGINAL, CORPUS = "sampled", "rationalized", "original", "corpus"
REFINED = "refined"
GENERATED = (SAMPLED, RATIONALIZED, REFINED)
ORIGINS = (SAMPLED, RATIONALIZED, ORIGINAL, CORPUS, REFINED)

_PIECE = 65_536


@dataclass(frozen=True, slots=True)
class Candidate:
    """An example that may be trained on, with the evidence for it.

    `reward` and `path` (a digest of how it gets to its answer) are for rules that choose by them.
    """

    example: Example
    evidence: ExampleEvidence
    reward: float = 0.0
    path: str = ""


@dataclass(slots=True)
class _Places:
    """Candidates as columns: example, origin (a place in ORIGINS) and characters of the completion."""

    ids: IdArray = field(default_factory=lambda: id_array([]))
    origins: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    sizes: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    def take(self, places: NDArray[np.int64]) -> "_Places":
        return _Places(self.ids[places], self.origins[places], self.sizes[places])


class Composition:
    """Collects candidates; `seal` writes the members and gives the output."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._examples = shards.writer("example")
        self._evidence = shards.writer("example_evidence")
        self._example_tally, self._evidence_tally = IdTally(), IdTally()
        self._generated: list[_Places] = []
        self._given: list[_Places] = []
        self.kept = 0

    def offer(self, candidates: Sequence[Candidate]) -> None:
        """Candidates that models wrote: each example once, with all of its evidence. `kept` counts the examples."""
        self._witness(candidates)
        self.kept += self._place(candidates, self._generated)

    def include(self, candidates: Sequence[Candidate]) -> None:
        """Candidates that no model wrote: each of them is a member, what comes twice is trained on twice."""
        self._witness(candidates)
        self._place(candidates, self._given)

    def seal(self, accounting: Accounting, seed: int) -> Output:
        """The training set: shuffled by seed, named by content."""
        generated = _joined(self._generated)
        members = _joined([generated.take(once(generated.ids, self.kept)), *self._given])
        self._generated, self._given = [], []
        members = members.take(_shuffled(len(members.ids), seed))
        mix_id = _mix_id(members)
        rows = np.bincount(members.origins, minlength=len(ORIGINS)).tolist()
        sizes = np.bincount(members.origins, weights=members.sizes, minlength=len(ORIGINS)).tolist()
        by_models = [origin in GENERATED for origin in ORIGINS]
        generated_rows = sum(count for count, own in zip(rows, by_models, strict=True) if own)
        generated_size = sum(size for size, own in zip(sizes, by_models, strict=True) if own)
        summary = Mix(mix_id, sum(rows), original_rows=sum(rows) - generated_rows, generated_rows=generated_rows)
        written = self._shards.writer("mix_member")
        for piece in _pieces(mix_id, members):
            written.add_columns(piece)
        return Output(
            {
                "examples": self._examples.finish(),
                "evidence": self._evidence.finish(),
                "members": written.finish(),
                "mix": self._shards.write("mix", [summary]),
            },
            accounting,
            {
                "mix_id": mix_id,
                "rows": summary.rows,
                "rows_by_origin": {origin: count for origin, count in sorted(zip(ORIGINS, rows, strict=True)) if count},
                "self_share": generated_rows / summary.rows,
                "self_share_by_characters": generated_size / max(1, sum(sizes)),
            },
        )

    def _witness(self, candidates: Sequence[Candidate]) -> None:
        earlier = self._evidence_tally.add(id_array([one.evidence.evidence_id for one in candidates]))
        self._evidence.add(one.evidence for one, count in zip(candidates, earlier, strict=True) if not count)

    def _place(self, candidates: Sequence[Candidate], places: list[_Places]) -> int:
        """Appends candidates; says how many examples are new, which are stored."""
        ids = id_array([one.example.example_id for one in candidates])
        earlier = self._example_tally.add(ids)
        self._examples.add(one.example for one, count in zip(candidates, earlier, strict=True) if not count)
        origins = np.array([ORIGINS.index(one.evidence.origin) for one in candidates], np.uint8)
        places.append(_Places(ids, origins, np.array([len(one.example.completion) for one in candidates], np.int32)))
        return int((earlier == 0).sum())


def _joined(parts: Sequence[_Places]) -> _Places:
    if not parts:
        return _Places()
    return _Places(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("ids", "origins", "sizes")))


def once(ids: IdArray, distinct: int) -> NDArray[np.int64]:
    """The first place of every id, in the order of their last places."""
    if distinct == len(ids):
        return np.arange(len(ids))
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    ends = np.append(ordered[1:] != ordered[:-1], True)
    first, last = order[np.append(True, ends[:-1])], order[ends]
    return first[np.argsort(last)]


def _shuffled(count: int, seed: int) -> NDArray[np.int64]:
    """The places that `random.shuffle` puts `count` members in, at 8 bytes each."""
    order = array("q", range(count))
    random.Random(seed).shuffle(order)
    return np.frombuffer(order, np.int64)


def _mix_id(members: _Places) -> str:
    """`content_id("mix", members=[[example_id, origin, 1.0], …])`, without making that list."""
    frame = canonical_json(["mix", {"members": [[0]]}]).split("[0]")
    whole = hashlib.blake2b(frame[0].encode(), digest_size=16)
    endings = [canonical_json([origin, 1.0])[1:] for origin in ORIGINS]
    for start in range(0, len(members.ids), _PIECE):
        digits = members.ids[start : start + _PIECE].tobytes().hex()
        origins = members.origins[start : start + _PIECE].tolist()
        texts = [f'["{digits[32 * n : 32 * n + 32]}",{endings[origin]}' for n, origin in enumerate(origins)]
        whole.update(("," if start else "").encode() + ",".join(texts).encode())
    whole.update(frame[1].encode())
    return whole.hexdigest()


def _pieces(mix_id: str, members: _Places) -> Iterable[pa.Table]:
    """The members' rows, a shard's worth at a time."""
    for start in range(0, len(members.ids), _PIECE):
        ids, origins = members.ids[start : start + _PIECE], members.origins[start : start + _PIECE]
        count = len(ids)
        yield pa.table({
            "mix_id": _binary(bytes.fromhex(mix_id) * count),
            "position": np.arange(start, start + count),
            "example_id": _binary(ids.tobytes()),
            "role": pa.DictionaryArray.from_arrays(pa.array(origins), pa.array(ORIGINS)).cast(pa.string()),
            "pair": pa.nulls(count, pa.int64()),
            "weight": np.ones(count),
        })  # fmt: skip


def _binary(data: bytes) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(16), len(data) // 16, [None, pa.py_buffer(data)])
