"""Which rows each step sees: laid out before training, from the seed alone."""

import random


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
