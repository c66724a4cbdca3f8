import pytest

from storage.significance import mcnemar, wilson


def test_wilson_is_the_interval_of_the_textbooks():
    interval = wilson(8 / 10, 10)
    assert (interval.low, interval.high) == pytest.approx((0.4901, 0.9433), abs=1e-4)  # Newcombe 1998's worked method


def test_wilson_stays_inside_and_knows_nothing_of_nothing():
    assert wilson(1.0, 20).high == 1.0
    assert 0.8 < wilson(1.0, 20).low < 0.9
    nothing = wilson(0.0, 0)
    assert (nothing.low, nothing.high) == (0.0, 1.0)


def test_wilson_narrows_with_more_trials():
    wide, narrow = wilson(0.5, 50), wilson(0.5, 5000)
    assert narrow.high - narrow.low < (wide.high - wide.low) / 9


def test_mcnemar_is_exact():
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(6, 0) == pytest.approx(2 / 64)
    assert mcnemar(3, 3) == 1.0
    assert mcnemar(9, 1) == pytest.approx(2 * 11 / 1024)
