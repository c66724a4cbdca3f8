"""How far a model's own check agrees with a program's, beyond what both would say by chance."""

import pytest

from storage.report.constraints import agreement


def counts(both_yes: int, said_only: int, held_only: int, both_no: int) -> dict[str, int]:
    """What `tasks.agreement` counts, from the four cells of the table."""
    return {
        "checked": both_yes + said_only + held_only + both_no,
        "agreed": both_yes + both_no,
        "said_met": both_yes + said_only,
        "held": both_yes + held_only,
    }


def test_kappa_is_agreement_beyond_chance():
    # Cohen's textbook table: 20 and 15 agreed of 50, with 25 and 30 said yes.
    share, kappa = agreement(counts(20, 5, 10, 15))
    assert share == pytest.approx(0.7)
    assert kappa == pytest.approx(0.4)
    assert agreement(counts(10, 0, 0, 10)) == (1.0, 1.0)
    assert agreement(counts(5, 5, 5, 5)) == (0.5, 0.0)


def test_who_always_says_yes_agrees_often_and_never_beyond_chance():
    assert agreement(counts(90, 10, 0, 0)) == (0.9, None)
    assert agreement(counts(0, 0, 0, 0)) == (None, None)
