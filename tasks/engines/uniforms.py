"""One uniform number for every (request, position), whoever asks and in whatever order.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011), vectorised over rows:
the key is the first 64 bits of the request id, the counter is the position. So the randomness of a text belongs
to its request, not to the batch it was written in.

    >>> uniforms(keys_of(["9f86d081884c7d659a2feaa0c55ad015"]), start=0, count=2)
    array([[0.58…, 0.13…]])
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def keys_of(request_ids: Sequence[str]) -> NDArray[np.uint64]:
    """The first 64 bits of each id (hex digits)."""
    return np.array([int(request_id[:16], 16) for request_id in request_ids], dtype=np.uint64)


def uniforms(keys: NDArray[np.uint64], start: int, count: int) -> NDArray[np.float64]:
    """Numbers in [0, 1) with 53 bits, shape [len(keys), count], for positions start … start+count-1."""
    words = philox(keys[:, None], np.arange(start, start + count, dtype=np.uint64)[None, :])
    return ((words[0] << np.uint64(21)) | (words[1] >> np.uint64(11))).astype(np.float64) * 2.0**-53


def philox(keys: NDArray[np.uint64], counters: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], ...]:
    """The four 32-bit words of Philox4x32-10 for 64-bit keys and counters (the counter's upper half is 0), broadcast."""
    shape = np.broadcast_shapes(keys.shape, counters.shape)
    zeros = np.zeros(shape, dtype=np.uint64)
    first, second = zeros + (counters & _LOW), zeros + (counters >> _HALF)
    third, fourth = zeros, zeros
    low, high = keys & _LOW, keys >> _HALF
    for turn in range(_ROUNDS):
        left, right = first * _MULTIPLIERS[0], third * _MULTIPLIERS[1]
        key_low = (low + np.uint64(turn * _WEYL[0])) & _LOW
        key_high = (high + np.uint64(turn * _WEYL[1])) & _LOW
        first, second = (right >> _HALF) ^ second ^ key_low, right & _LOW
        third, fourth = (left >> _HALF) ^ fourth ^ key_high, left & _LOW
    return first, second, third, fourth
