"""Which rows each step sees: laid out before training, from the seed and the rows' lengths alone."""

import random
from collections.abc import Sequence

WINDOW = 16
"""How many batches are sorted by length at once: rows stay near the place that the shuffle gave them."""


def lay_out(rows: int, places: int, seed: int) -> list[int]:
    """`places` row numbers: the rows shuffled, over and over, so that no row is seen twice before all were seen once.

    Laid out whole, the order does not depend on the trainer's samplers or on where a killed training went on.
    """
    shuffle = random.Random(f"order {seed}")
    order: list[int] = []
    while len(order) < places:
        pass_ = list(range(rows))
        shuffle.shuffle(pass_)
        order.extend(pass_)
    return order[:places]


def grouped(order: Sequence[int], lengths: Sequence[int], batch: int, seed: int) -> list[int]:
    """The same places with rows of like length in a batch, so that less is padded.

    Windows of `WINDOW` batches are sorted by length and their batches shuffled: how often a row is seen, and in which window,
    stays as it was.
    """
    shuffle = random.Random(f"length {seed}")
    result: list[int] = []
    for first in range(0, len(order), WINDOW * batch):
        window = sorted(order[first : first + WINDOW * batch], key=lambda row: lengths[row])
        batches = [window[place : place + batch] for place in range(0, len(window), batch)]
        whole = [one for one in batches if len(one) == batch]
        shuffle.shuffle(whole)
        result += [row for one in [*whole, *batches[len(whole) :]] for row in one]
    return result
