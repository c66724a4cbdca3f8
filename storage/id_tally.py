"""How often ids have come, at 20 bytes an id: what tells millions of rows apart without holding them.

    >>> tally = IdTally()
    >>> tally.add(id_array(["0f…", "1a…", "0f…"]))
    array([0, 0, 1])                                    # how often each had come before

Sorted runs of doubling length, as in a log-structured merge tree: a batch of any size costs a few binary searches a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

IdArray = NDArray[np.bytes_]
"""Ids as 16 bytes each; the bytes of `tolist()` lose their trailing zeros, those of `tobytes()` do not."""


def id_array(ids: Sequence[str]) -> IdArray:
    """Ids of 32 hex digits each as an array."""
    return np.frombuffer(bytes.fromhex("".join(ids)), "S16")


@dataclass(frozen=True, slots=True)
class _Run:
    ids: IdArray
    counts: NDArray[np.int32]

    def counts_of(self, wanted: IdArray) -> NDArray[np.int32]:
        places = np.minimum(np.searchsorted(self.ids, wanted), len(self.ids) - 1)
        return np.where(self.ids[places] == wanted, self.counts[places], 0)


class IdTally:
    """A count for every id that was added."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._distinct = 0

    def add(self, ids: IdArray) -> NDArray[np.int64]:
        """Counts a batch in, and says for each of it how often it had come before, earlier in the batch included."""
        if not len(ids):
            return np.zeros(0, np.int64)
        order = np.argsort(ids, kind="stable")
        given = ids[order]
        starts = _starts(given)
        counts = np.diff(starts, append=len(given))
        distinct = given[starts]
        before = self.times(distinct)
        self._distinct += int((before == 0).sum())
        seen = np.empty(len(ids), np.int64)
        seen[order] = np.arange(len(given)) + np.repeat(before - starts, counts)
        self._push(_Run(distinct, counts.astype(np.int32)))
        return seen

    def times(self, ids: IdArray) -> NDArray[np.int64]:
        """How often each of these has come."""
        counts = np.zeros(len(ids), np.int64)
        for run in self._runs:
            counts += run.counts_of(ids)
        return counts

    def __len__(self) -> int:
        """How many different ids have come."""
        return self._distinct

    def _push(self, run: _Run) -> None:
        while self._runs and len(self._runs[-1].ids) <= 2 * len(run.ids):
            run = _merged(self._runs.pop(), run)
        self._runs.append(run)


def _merged(one: _Run, other: _Run) -> _Run:
    ids = np.concatenate([one.ids, other.ids])
    order = np.argsort(ids, kind="stable")
    ids, counts = ids[order], np.concatenate([one.counts, other.counts])[order]
    starts = _starts(ids)
    return _Run(ids[starts], np.add.reduceat(counts, starts))


def _starts(ordered: NDArray[Any]) -> NDArray[np.int64]:
    """Where each of several equal neighbours begins."""
    return np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
