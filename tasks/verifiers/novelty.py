"""Which of many texts is the nearest to a new one, by ROUGE-L: exact, and fast enough for a pool of tens of thousands.

    >>> pool = Pool(["Write a poem about rain.", "Name three fruits."])
    >>> pool.nearest(["Write a poem about the sea."])
    [Nearest(score=0.727…, text='Write a poem about rain.')]

A word becomes one character, so a text is a string, and rapidfuzz compares one string with all others at 64 words an
instruction. Two lengths bound what two texts can have in common: F is at most 2·min/(sum). So of a pool in the order of
lengths, only a window has to be looked at to know whether anything is nearer than a threshold, and a wider one, which
the best found so far bounds, to know what is nearest. Neither bound loses anything.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from tasks.verifiers.rouge import words

IN_TURN = 1024
"""Candidates that are compared with the pool before any of them joins it, and then with each other."""
AT_ONCE = 64
"""Of those, so many of like length share a window of the pool."""
PIECE = 8192
"""So many texts of the pool are scored at once: what that takes stays in a processor's cache."""
ROUNDING = 1e-6
"""More than single precision can be off by, relatively."""
_SURROGATES = range(0xD800, 0xE000)


@dataclass(frozen=True, slots=True)
class Nearest:
    """The text of the pool that is nearest, and its ROUGE-L F; 0 and an empty text where nothing has a word in common."""

    score: float = 0.0
    text: str = ""


@dataclass(frozen=True, slots=True)
class Novel:
    """What became of one candidate: `admitted` unless something was nearer than the threshold."""

    admitted: bool
    nearest: Nearest


@dataclass(slots=True)
class _Best:
    """For each candidate the best score so far, and whose it is (a place in the pool, -1: nobody's)."""

    scores: NDArray[np.float64]
    places: NDArray[np.int64]


class Pool:
    """Texts that new ones must differ from. `threads` compare side by side."""

    def __init__(self, texts: Iterable[str] = (), threads: int = 1) -> None:
        self._codes: dict[str, str] = {}
        self._texts: list[str] = []
        self._threads = threads
        self._ordered: list[str] = []
        self._lengths: NDArray[np.int64] = np.zeros(0, np.int64)
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)
        self.add(texts)

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, texts: Iterable[str]) -> None:
        """More texts; places of earlier ones do not change."""
        fresh = list(texts)
        coded = [self._coded(text) for text in fresh]
        start = len(self._texts)
        self._texts += fresh
        lengths = np.concatenate([self._lengths, np.array([len(one) for one in coded], np.int64)])
        order = np.concatenate([self._order, np.arange(start, len(self._texts))])
        together = self._ordered + coded
        ranks = np.argsort(lengths, kind="stable")
        self._lengths, self._order = lengths[ranks], order[ranks]
        self._ordered = [together[rank] for rank in ranks.tolist()]

    def nearest(self, candidates: Sequence[str]) -> list[Nearest]:
        """The nearest text of the pool for each candidate, whatever its score."""
        return self._found(candidates, threshold=None)

    def admit(self, candidates: Sequence[str], threshold: float) -> list[Novel]:
        """Each candidate in turn joins the pool unless something in it, those before it included, is nearer than `threshold`.

        Of one that joins, the nearest is exact; so it is of one that does not, as far as those before it here are not nearer still.
        """
        said: list[Novel] = []
        for start in range(0, len(candidates), IN_TURN):
            group = candidates[start : start + IN_TURN]
            found = self._found(group, threshold)
            among = self._among(group)
            joined: list[int] = []
            for place, nearest in enumerate(found):
                if joined and nearest.score <= threshold:
                    scores = among[place, joined]
                    best = int(scores.argmax())
                    if scores[best] > nearest.score:
                        nearest = Nearest(float(scores[best]), group[joined[best]])
                if admitted := nearest.score <= threshold:
                    joined.append(place)
                said.append(Novel(admitted, nearest))
            self.add(group[place] for place in joined)
        return said

    def _found(self, candidates: Sequence[str], threshold: float | None) -> list[Nearest]:
        """The nearest of each; of one that is nearer than the threshold, as the window for that shows it (which is exact)."""
        coded = [self._coded(text) for text in candidates]
        order = sorted(range(len(coded)), key=lambda place: len(coded[place]))
        found = [Nearest()] * len(coded)
        for start in range(0, len(order), AT_ONCE):
            group = order[start : start + AT_ONCE]
            best = self._compared([coded[place] for place in group], threshold)
            for place, score, whose in zip(group, best.scores.tolist(), best.places.tolist(), strict=True):
                if whose >= 0:
                    found[place] = Nearest(score, self._texts[whose])
        return found

    def _compared(self, coded: Sequence[str], threshold: float | None) -> _Best:
        best = _Best(np.zeros(len(coded)), np.full(len(coded), -1, np.int64))
        if not self._ordered:
            return best
        sizes = np.array([len(one) for one in coded], np.int64)
        everyone = np.arange(len(coded))
        first = self._window(sizes, np.full(len(coded), 0.5 if threshold is None else threshold))
        self._look(coded, everyone, first, best)
        open_ = everyone if threshold is None else np.flatnonzero(best.scores <= threshold)
        if len(open_):
            whole = self._window(sizes[open_], best.scores[open_])
            for part in (
                range(whole.start, min(first.start, whole.stop)),
                range(max(first.stop, whole.start), whole.stop),
            ):
                self._look(coded, open_, part, best)
        return best

    def _window(self, sizes: NDArray[np.int64], scores: NDArray[np.float64]) -> range:
        """The ranks whose lengths allow any of these candidates to score more than that: 2·min(m, n) / (m + n) > score."""
        share = scores / (2 - scores)
        low, high = float((sizes * share).min()), float((sizes / np.maximum(share, 1e-9)).max())
        # An edge that rounding may have moved costs a row more, never one less.
        start = int(np.searchsorted(self._lengths, np.floor(low * (1 - 1e-9)), side="left"))
        return range(start, int(np.searchsorted(self._lengths, np.ceil(high * (1 + 1e-9)), side="right")))

    def _look(self, coded: Sequence[str], which: NDArray[np.int64], ranks: range, best: _Best) -> None:
        """Compares those candidates with a range of the pool, and keeps what is nearer than what they have."""
        if not len(which) or ranks.stop <= ranks.start:
            return
        asked = [coded[place] for place in which.tolist()]
        sizes = np.array([len(one) for one in asked])
        for start in range(ranks.start, ranks.stop, PIECE):
            stop = min(start + PIECE, ranks.stop)
            common = self._common(asked, self._ordered[start:stop])
            found = _highest(common, sizes, self._lengths[start:stop])
            nearer = found.scores > best.scores[which]
            best.scores[which[nearer]] = found.scores[nearer]
            best.places[which[nearer]] = self._order[start + found.places[nearer]]

    def _among(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Scores of texts with each other."""
        coded = [self._coded(text) for text in texts]
        sizes = np.array([len(one) for one in coded])
        return _f(self._common(coded, coded), sizes[:, None], sizes[None, :])

    def _common(self, some: Sequence[Sequence[str]], others: Sequence[Sequence[str]]) -> NDArray[np.uint16]:
        return cdist(some, others, scorer=LCSseq.similarity, dtype=np.uint16, workers=self._threads)

    def _coded(self, text: str) -> str:
        """A character a word."""
        return "".join(self._code(word) for word in words(text))

    def _code(self, word: str) -> str:
        if word not in self._codes:
            number = len(self._codes) + 1
            self._codes[word] = chr(number if number < _SURROGATES.start else number + len(_SURROGATES))
        return self._codes[word]


def _highest(common: NDArray[np.uint16], ones: NDArray[np.int64], others: NDArray[np.int64]) -> _Best:
    """The highest F of each row and its column: first in single precision by 2·common / (sum of lengths), which is F but for its
    rounding, then by the definition where that is within rounding of the highest.
    """
    rough = common / np.maximum(ones[:, None] + others[None, :], 1).astype(np.float32)
    near = rough >= rough.max(axis=1, keepdims=True) * np.float32(1 - ROUNDING)
    rows, columns = np.nonzero(near & (common > 0))
    exact = _f(common[rows, columns], ones[rows], others[columns])
    best = _Best(np.zeros(len(ones)), np.zeros(len(ones), np.int64))
    if not len(rows):
        return best
    order = np.lexsort((-columns, exact, rows))
    last = np.append(rows[order][1:] != rows[order][:-1], True)
    best.scores[rows[order][last]], best.places[rows[order][last]] = exact[order][last], columns[order][last]
    return best


def _f(common: NDArray[np.uint16], ones: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
    """`rouge.f_of` of common subsequences and lengths: the same operations in the same order, so the same numbers."""
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = common / ones, common / others
        scores = 2 * precision * recall / (precision + recall)
    return np.where(common > 0, scores, 0.0)
