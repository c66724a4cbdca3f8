"""A fixed shuffle of 0 … size-1 of which any single place can be computed, without making the others.

A four-round Feistel network over the next even power of two, walked until it lands inside: so a stream of billions of
problems can be entered anywhere and never repeats before its end.
"""

from hashlib import blake2b

_MASK = (1 << 64) - 1


class Permutation:
    """The shuffle of `range(size)` that belongs to `key`: equal arguments, equal shuffle, on every machine."""

    __slots__ = ("_half", "_keys", "_low", "size")

    def __init__(self, size: int, key: str) -> None:
        self.size = size
        self._half = max(1, ((size - 1).bit_length() + 1) // 2)
        self._low = (1 << self._half) - 1
        seed = blake2b(key.encode(), digest_size=32).digest()
        self._keys = tuple(int.from_bytes(seed[place : place + 8], "little") for place in (0, 8, 16, 24))

    def __getitem__(self, index: int) -> int:
        """Where `index` goes, itself in 0 … size-1."""
        if not 0 <= index < self.size:
            raise IndexError(f"{index} is not in 0 … {self.size - 1}")
        while True:
            left, right = index >> self._half, index & self._low
            for key in self._keys:
                left, right = right, left ^ (mix(right ^ key) & self._low)
            index = left << self._half | right
            if index < self.size:
                return index


def mix(value: int) -> int:
    """64 well mixed bits of an integer (the finaliser of SplitMix64, Steele et al. 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31
