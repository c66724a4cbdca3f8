"""ROUGE-L (Lin 2004): how much of two texts is the same words in the same order, from 0 to 1.

    >>> f_measure(words("Write a short poem."), words("write a poem about rain"))
    0.666…

F is the harmonic mean of the longest common subsequence's share of each text. Words are as Google's `rouge-score` takes them
without stemming, which Self-Instruct's released code uses: lower-cased runs of a-z and 0-9. So a text in another script
has no words, and nothing in common with any other.
"""

import re
from collections.abc import Sequence

from rapidfuzz.distance import LCSseq

_WORD = re.compile(r"[a-z0-9]+")


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return _WORD.findall(text.lower())


def f_measure(one: Sequence[str], other: Sequence[str]) -> float:
    """ROUGE-L F of two texts' words; 0 where one of them has none."""
    return f_of(LCSseq.similarity(one, other), len(one), len(other))


def f_of(common: int, one: int, other: int) -> float:
    """F of a common subsequence and the two lengths, rounded as in its definition: 0.7 is not more than 0.7."""
    if not common:
        return 0.0
    precision, recall = common / one, common / other
    return 2 * precision * recall / (precision + recall)
