from random import Random

from tasks.training.order import WINDOW, grouped, lay_out

LENGTHS = [Random(place).randrange(5, 100) for place in range(50)]


def padding(order: list[int], batch: int) -> int:
    batches = [[LENGTHS[row] for row in order[first : first + batch]] for first in range(0, len(order), batch)]
    return sum(max(one) * len(one) - sum(one) for one in batches)


def test_rows_of_like_length_are_in_a_batch_and_every_row_is_seen_as_often():
    order = lay_out(50, 400, seed=3)
    near = grouped(order, LENGTHS, 8, seed=3)
    assert sorted(near) == sorted(order)
    assert padding(near, 8) < padding(order, 8) / 2
    assert near != order


def test_a_row_stays_within_its_window():
    order = lay_out(50, 400, seed=3)
    near = grouped(order, LENGTHS, 8, seed=3)
    for first in range(0, 400, WINDOW * 8):
        assert sorted(near[first : first + WINDOW * 8]) == sorted(order[first : first + WINDOW * 8])


def test_the_seed_alone_decides_and_batches_do_not_come_by_length():
    order = lay_out(50, 320, seed=3)
    near = grouped(order, LENGTHS, 8, seed=3)
    assert near == grouped(order, LENGTHS, 8, seed=3)
    assert near != grouped(order, LENGTHS, 8, seed=4)
    longest = [max(LENGTHS[row] for row in near[first : first + 8]) for first in range(0, 128, 8)]
    assert longest != sorted(longest)
