"""How far a model's own check agrees with a program's, beyond what both would say by chance."""

from types import SimpleNamespace
from typing import Any

import pytest

from storage.report.constraints import agreement, constraints
from storage.report.svg import percent


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


def arm(*told: dict[str, dict[str, int]] | None) -> Any:
    """An arm with these constraints in its iterations, and no attempts."""
    iterations = [
        SimpleNamespace(iteration=n, figures={} if one is None else {"constraints": one}) for n, one in enumerate(told)
    ]
    return SimpleNamespace(iterations=iterations, tallies=[])


def test_an_arm_that_is_judged_by_its_answer_alone_has_no_table():
    alone = {"": {"level": 3, "judged": 9, "met": 5, "undecided": 0}}
    assert constraints(arm(None, alone)) is None
    assert constraints(arm(None)) is None


def test_constraints_stand_easiest_first_with_the_first_and_the_last_iteration():
    first = {
        "equations": {"level": 4, "judged": 10, "met": 2, "undecided": 0},
        "form": {"level": 1, "judged": 10, "met": 9, "undecided": 1},
    }
    last = {"equations": {"level": 4, "judged": 10, "met": 6, "undecided": 0}}
    found = constraints(arm(None, first, last))
    assert found is not None
    assert found.columns == ["constraint", "how it is judged", "met, iteration 1", "met, iteration 2", "undecided"]
    assert found.rows == [
        ["form", "counted", percent(0.9), "—", "1"],
        ["equations", "followed", percent(0.2), percent(0.6), "0"],
    ]
    assert found.sentence == "The one they missed most was equations."
