"""Sums of two n-digit numbers: `addition:1-5`; `addition:1-5,refine=4` for loops that refine four candidates.

    Problem(source='addition:1-5', split='train', question='00628+00579', gold='001207', stratum='3 digits', …)

Every unordered pair {a, b} belongs to one split, decided by its place in a fixed shuffle of the pairs of its length: so
a + b and b + a never part, and `addition:1-3` holds out the same sums as `addition:1-5`. Train is a stream without end;
a length comes round again only after each of its sums was given in both orders, which one digit soon does.

The corpus is what the embedded base is pre-trained on: worked examples over train pairs by writers who forget carries
(`scratchpad.py`). Problems of train, dev and test carry no worked solution; the model writes its own.

With `refine=N` three in ten corpus documents begin with the work of N other writers on the same sum, as a refinement prompt does. Their
writer forgets as many carries as anybody and takes nothing from what he was shown: the base learns how a refinement is written, and
not how to make one.
"""

import re
from math import isqrt

from storage.errors import UserMistake
from storage.records import Problem
from tasks.problems.permutation import Permutation, mix
from tasks.problems.protocol import check_split
from tasks.problems.scratchpad import slip_probability, work

LONGEST = 9
HINTED_SHARE = 0.3
"""How many corpus documents begin with the answer that their writer comes to, as a hint does."""
REFINED_SHARE = 0.3
"""How many begin with other writers' work, where the set is asked for refinements."""
MOST_CANDIDATES = 16
CORPUS_TURNS = {1: 2, 2: 2, 3: 3, 4: 5}
CORPUS_TURNS_LONGER = 8
"""How often each length comes in a round of the corpus (of 20 documents, for 1-5): longer sums need more practice."""


def load(options: str) -> "Addition":
    """`1-5`: sums of one to five digits (the default); `3`: of three; `1-5,refine=4`: with refinements of four in the corpus."""
    digits, _, rest = options.partition(",")
    name, equals, candidates = rest.partition("=")
    if rest and (name != "refine" or not equals or not candidates.isdigit()):
        raise UserMistake(
            f"addition has no option {rest!r}; it has: refine=<candidates>, such as addition:1-5,refine=4"
        )
    shortest, dash, longest = (digits or "1-5").partition("-")
    try:
        return Addition(int(shortest), int(longest if dash else shortest), int(candidates) if rest else None)
    except ValueError:
        raise UserMistake(f"addition:{options} does not fit; give a range of digits such as addition:1-5") from None


class Addition:
    """The problem set `addition:<shortest>-<longest>`; both operands have the same number of digits.

    `candidates` is how many works a corpus document that is a refinement begins with; None: there are no such documents.
    """

    licence = "CC0-1.0"
    template = "addition"
    verifier = "sums"
    alphabet = "0123456789+=?A\n"

    def __init__(self, shortest: int, longest: int, candidates: int | None = None) -> None:
        if not 1 <= shortest <= longest <= LONGEST:
            raise UserMistake(f"addition:{shortest}-{longest} does not fit; give a range of digits within 1-{LONGEST}")
        if candidates is not None and not 2 <= candidates <= MOST_CANDIDATES:
            raise UserMistake(f"refine={candidates} does not fit; a refinement is of 2 to {MOST_CANDIDATES} candidates")
        self.name = f"addition:{shortest}-{longest}{'' if candidates is None else f',refine={candidates}'}"
        self._candidates = candidates
        self.width = max(5, longest)
        self._lengths = [PairsOfLength(digits) for digits in range(shortest, longest + 1)]
        turns = [(pairs, turn) for pairs in self._lengths for turn in range(pairs.corpus_turns)]
        order = Permutation(len(turns), "corpus round")
        self._corpus_round = [turns[order[place]] for place in range(len(turns))]
        self._held_out = {split: self._interleave(split) for split in ("dev", "test")}

    def size(self, split: str) -> int | None:
        """How many problems dev and test have; None for train, which has no end."""
        check_split(split)
        return None if split == "train" else len(self._held_out[split])

    def take(self, split: str, start: int, count: int) -> list[Problem]:
        """`count` problems from position `start`: lengths in turn, on dev and test until a length has no more.

        On dev and test the weights make lengths count equally over the whole split.
        """
        check_split(split)
        if split != "train":
            return self._held_out[split][start : start + count]
        places = (divmod(place, len(self._lengths)) for place in range(start, start + count))
        return [
            self._problem("train", self._lengths[length], self._lengths[length].train(turn)) for turn, length in places
        ]

    def corpus(self, start: int, count: int) -> list[Problem]:
        """Worked examples by writers who slip: `rationale` is the completion, right or wrong.

        A hinted document has its writer's own answer in `info["hint"]`, so a hint leaks nothing that is right; a refinement has
        what others wrote in `info["refined_from"]`, and they slip as he does. Lengths come in shares of 10, 10, 15, 25 and 40 % (for 1-5).
        """
        return [self._document(place) for place in range(start, start + count)]

    def asked(self, text: str) -> Problem | None:
        """The train problem that a text asks, with its answer: the first `a+b` of numbers that these sums have; else None."""
        found = re.search(r"(?<!\d)(\d+)\s*\+\s*(\d+)(?!\d)", text)
        pair = found and (int(found[1]), int(found[2]))
        length = pair and next((one for one in self._lengths if one.holds(*pair)), None)
        return self._problem("train", length, pair) if pair and length else None

    def key(self, question: str) -> str:
        """What the same sum in either order has in common."""
        return "+".join(sorted(question.split("+")))

    def _document(self, place: int) -> Problem:
        lap, place_in_round = divmod(place, len(self._corpus_round))
        pairs, turn = self._corpus_round[place_in_round]
        question = self._question(pairs.corpus(lap * pairs.corpus_turns + turn))
        draws = iter(_Uniforms(mix(place)))

        def written() -> str:
            return work(question, lambda x, y: next(draws) < slip_probability(x, y))

        completion, shown = written(), next(draws)
        info: dict[str, object] = {}
        if shown < HINTED_SHARE:
            info = {"hint": completion.partition("A")[2]}
        elif self._candidates is not None and shown < HINTED_SHARE + REFINED_SHARE:
            info = {"refined_from": [written() for _ in range(self._candidates)]}
        return Problem.of(self.name, "train", question, self._gold(question), info=info, rationale=completion,
                          stratum=pairs.stratum, licence=self.licence)  # fmt: skip

    def _interleave(self, split: str) -> list[Problem]:
        columns = [pairs.held_out(split) for pairs in self._lengths]
        total = sum(map(len, columns))
        return [
            self._problem(split, pairs, column[turn], weight=total / (len(columns) * len(column)))
            for turn in range(max(map(len, columns)))
            for pairs, column in zip(self._lengths, columns, strict=True)
            if turn < len(column)
        ]

    def _problem(self, split: str, pairs: "PairsOfLength", pair: tuple[int, int], weight: float = 1.0) -> Problem:
        question = self._question(pair)
        return Problem.of(
            self.name, split, question, self._gold(question), stratum=pairs.stratum, weight=weight, licence=self.licence
        )

    def _question(self, pair: tuple[int, int]) -> str:
        return f"{pair[0]:0{self.width}d}+{pair[1]:0{self.width}d}"

    def _gold(self, question: str) -> str:
        return f"{sum(map(int, question.split('+'))):0{self.width + 1}d}"


class PairsOfLength:
    """The unordered pairs of n-digit numbers, parted: the first of a fixed shuffle are test, the next dev, the rest train.

    Of the 55 one-digit pairs 20 are test and 10 dev, asked in both orders; of longer ones 200 and 100, in one order.
    """

    def __init__(self, digits: int) -> None:
        self.digits = digits
        self.stratum = f"{digits} digit{'s' if digits > 1 else ''}"
        self.corpus_turns = CORPUS_TURNS.get(digits, CORPUS_TURNS_LONGER)
        self._low = 10 ** (digits - 1) if digits > 1 else 0
        self._count = 10**digits - self._low
        self._test, self._dev = (200, 100) if digits > 1 else (20, 10)
        size = self._count * (self._count + 1) // 2
        self._shuffle = Permutation(size, f"addition of {digits} digits")
        self._train_size = size - self._test - self._dev
        self._corpus_shuffle = Permutation(self._train_size, f"corpus of {digits} digits")

    def holds(self, a: int, b: int) -> bool:
        """Whether both numbers are as long as these."""
        return self._low <= min(a, b) and max(a, b) < self._low + self._count

    def held_out(self, split: str) -> list[tuple[int, int]]:
        places = range(self._test) if split == "test" else range(self._test, self._test + self._dev)
        pairs = [self._pair(place) for place in places]
        if self.digits > 1:
            return [self._ordered(pair, mix(place)) for pair, place in zip(pairs, places, strict=True)]
        return [order for a, b in pairs for order in dict.fromkeys(((a, b), (b, a)))]

    def train(self, turn: int) -> tuple[int, int]:
        """The pair at a place of the train stream; every second round gives the pairs in the other order."""
        lap, place = divmod(turn, self._train_size)
        return self._ordered(self._pair(self._test + self._dev + place), mix(place) ^ lap)

    def corpus(self, turn: int) -> tuple[int, int]:
        """The same pairs in an order of their own."""
        lap, place = divmod(turn, self._train_size)
        return self._ordered(self._pair(self._test + self._dev + self._corpus_shuffle[place]), mix(place) ^ lap)

    def _pair(self, place: int) -> tuple[int, int]:
        """The pair a <= b at a place of the shuffle; pairs are numbered 00, 01, 11, 02, 12, 22, …"""
        number = self._shuffle[place]
        larger = (isqrt(8 * number + 1) - 1) // 2
        return number - larger * (larger + 1) // 2 + self._low, larger + self._low

    @staticmethod
    def _ordered(pair: tuple[int, int], coin: int) -> tuple[int, int]:
        return pair if coin & 1 else (pair[1], pair[0])


class _Uniforms:
    """An endless row of numbers in [0, 1) that belongs to a seed."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def __iter__(self) -> "_Uniforms":
        return self

    def __next__(self) -> float:
        self._state = mix(self._state)
        return (self._state >> 11) * 2.0**-53
