"""What a run takes of this machine."""

import pytest

from flows.machine import FEWEST_CELLS, cells_side_by_side, usable_cores, workers
from storage.errors import UserMistake


@pytest.mark.parametrize("said", ["x", "0", "-1", "2.5", "²"])
def test_a_number_of_workers_that_is_none_is_one_sentence(said, monkeypatch):
    monkeypatch.setenv("STARLOOP_WORKERS", said)
    with pytest.raises(UserMistake, match="give a number of engines from 1 up, or unset it"):
        workers()
    assert cells_side_by_side() == FEWEST_CELLS


def test_every_worker_has_a_thread(monkeypatch):
    monkeypatch.setenv("STARLOOP_WORKERS", "33")
    assert workers() == 33
    assert cells_side_by_side() == 33


def test_cells_use_all_cores_and_never_fewer_than_four(monkeypatch):
    monkeypatch.setenv("STARLOOP_WORKERS", "1")
    assert cells_side_by_side() == max(FEWEST_CELLS, usable_cores())
