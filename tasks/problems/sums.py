"""Sums and differences as a person asks them: `sums:20`, `sums:99`, `sums:20,sign=minus`.

    Problem(source='sums:20', split='train', question='What is 17 + 8?', gold='25', stratum='carry', …)

Both numbers go from 0 to the one named; a difference is never negative. Every unordered pair {a, b} belongs to one split, by its
place in a fixed shuffle: a third of the pairs is test (250 at most), a sixth dev (125), the rest train. Of fewer than a thousand
pairs each sum is asked in both orders, so a + b and b + a stand in the same split, and an interval over them is a little narrow.

No problem has a worked solution: the model writes its own. For models that read words; `addition` is for those that read digits.
"""

import re
from math import isqrt

from storage.errors import UserMistake
from storage.records import Problem
from tasks.problems.permutation import Permutation, mix
from tasks.problems.protocol import check_split

LARGEST = 999_999
MOST_TEST, MOST_DEV = 250, 125
FEW_PAIRS = 1000
SIGNS = {"plus": "+", "minus": "-"}


def load(options: str) -> "Sums":
    """`20`: sums of two numbers up to 20 (the default); `20,sign=minus`: differences."""
    largest, _, rest = options.partition(",")
    named, equals, sign = rest.partition("=")
    if rest and (named != "sign" or not equals or sign not in SIGNS):
        raise UserMistake(f"sums has no option {rest!r}; it has: {', '.join(f'sign={one}' for one in SIGNS)}")
    if not (largest or "20").isdigit() or not 2 <= int(largest or 20) <= LARGEST:
        raise UserMistake(f"sums:{options} does not fit; give the largest number from 2 to {LARGEST}, such as sums:20")
    return Sums(int(largest or 20), sign or "plus")


class Sums:
    """The problem set `sums:<largest>`; all of its splits have an end."""

    licence = "CC0-1.0"
    template = "sums"
    verifier = "numeric"

    def __init__(self, largest: int, sign: str) -> None:
        self.name = f"sums:{largest}{'' if sign == 'plus' else f',sign={sign}'}"
        self._sign, self._largest = sign, largest
        self._pairs = (largest + 1) * (largest + 2) // 2
        self._both_orders = sign == "plus" and self._pairs < FEW_PAIRS
        self._shuffle = Permutation(self._pairs, f"sums up to {largest}")
        test = min(MOST_TEST, self._pairs // 3)
        dev = min(MOST_DEV, self._pairs // 6)
        self._places = {"test": range(test), "dev": range(test, test + dev), "train": range(test + dev, self._pairs)}
        self._listed: dict[str, list[tuple[int, int]]] = {}

    def size(self, split: str) -> int:
        check_split(split)
        return len(self._asked(split)) if self._both_orders else len(self._places[split])

    def take(self, split: str, start: int, count: int) -> list[Problem]:
        check_split(split)
        if self._both_orders:
            pairs = self._asked(split)[start : start + count]
        else:
            pairs = [self._ordered(place) for place in self._places[split][start : start + count]]
        return [self._problem(split, *pair) for pair in pairs]

    def corpus(self, start: int, count: int) -> list[Problem]:
        """None: nobody worked these out."""
        del start, count
        return []

    def asked(self, text: str) -> Problem | None:
        """The train problem that a text asks, with its answer: the first sum (or difference) that this set could ask; else None."""
        found = re.search(rf"(?<![\d.])(\d+)\s*{re.escape(SIGNS[self._sign])}\s*(\d+)(?![\d.]*\d)", text)
        if not found:
            return None
        a, b = int(found[1]), int(found[2])
        fits = max(a, b) <= self._largest and (self._sign == "plus" or a >= b)
        return self._problem("train", a, b) if fits else None

    def key(self, question: str) -> str:
        """What the same question has in common, a sum in either order."""
        a, b = re.findall(r"\d+", question)
        return " ".join(sorted((a, b), key=int)) if self._sign == "plus" else f"{a} {b}"

    def _asked(self, split: str) -> list[tuple[int, int]]:
        """Every pair of a split in both orders: first each once, then the other way round."""
        if split not in self._listed:
            once = [self._ordered(place) for place in self._places[split]]
            self._listed[split] = [*once, *((b, a) for a, b in once if a != b)]
        return self._listed[split]

    def _ordered(self, place: int) -> tuple[int, int]:
        """The pair at a place of the shuffle, the larger number first where it is a difference; pairs are 00, 01, 11, 02, …"""
        number = self._shuffle[place]
        larger = (isqrt(8 * number + 1) - 1) // 2
        smaller = number - larger * (larger + 1) // 2
        return (larger, smaller) if self._sign == "minus" or mix(place) & 1 else (smaller, larger)

    def _problem(self, split: str, a: int, b: int) -> Problem:
        gold = a + b if self._sign == "plus" else a - b
        carried = a % 10 + b % 10 > 9 if self._sign == "plus" else a % 10 < b % 10
        return Problem.of(
            self.name,
            split,
            f"What is {a} {SIGNS[self._sign]} {b}?",
            str(gold),
            stratum="carry" if carried else "no carry",
            licence=self.licence,
        )
