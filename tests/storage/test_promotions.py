"""Promotions in the ledger: append-only, rebuilt from events, and who holds an alias and held it before."""

from small_loop import contents

from storage.identity import digest
from storage.ledger import Ledger
from storage.lineage import Lineage
from storage.promotions import (
    ABANDONED,
    BY_HAND,
    DONE,
    INTENDED,
    NOTICED,
    PROMOTE,
    REFUSED,
    ROLLBACK,
    Alias,
    Promotion,
    aliases,
    history,
    holder,
    promotions,
    record,
    recorded,
    unfinished,
)

CHAMPION = Alias("home", "addition", "champion")
GATES = [{"gate": "significance", "passed": True, "figures": {"p": 0.003, "gained": 21, "lost": 4}}]


def promotion(
    version: int | None, action: str = PROMOTE, alias: str = "champion", model: str = "addition"
) -> Promotion:
    checkpoint = digest("checkpoint", version) if version else None
    return Promotion(
        digest("promotion", version, action, alias, model), INTENDED, action, model, alias, "home", checkpoint, version, None,
        None, None, None, False, None, 3, GATES,
    )  # fmt: skip


def happen(ledger: Ledger, *steps: tuple[Promotion, str]) -> list[Promotion]:
    for one, state in steps:
        record(ledger, one, state)
    return recorded(ledger)


def test_every_event_of_a_promotion_is_a_row_and_the_view_has_the_last(ledger: Ledger):
    first = promotion(3)
    rows = happen(ledger, (first, INTENDED), (first, DONE), (promotion(4), REFUSED))
    assert [(row.version, row.state) for row in rows] == [(3, INTENDED), (3, DONE), (4, REFUSED)]
    assert rows[0].gates == GATES
    ledger.publish(force=True)
    with Lineage.open(ledger.home) as lineage:
        assert [(row.version, row.state, row.gates) for row in promotions(lineage)] == [
            (3, DONE, GATES),
            (4, REFUSED, GATES),
        ]
        assert lineage.query("select version, action from v_alias").rows == [(3, "promote")]


def test_a_rebuilt_ledger_has_the_same_promotions(ledger: Ledger):
    first = promotion(3)
    happen(ledger, (first, INTENDED), (first, DONE), (promotion(7, BY_HAND), NOTICED), (promotion(4), REFUSED))
    before = contents(ledger)
    assert len(before["promotion"]) == 4
    ledger.rebuild()
    assert contents(ledger) == before


def test_a_rollback_falls_back_step_by_step_and_not_back_and_forth(ledger: Ledger):
    done = [(promotion(version), DONE) for version in (1, 2, 3)]
    rows = happen(ledger, *done, (promotion(2, ROLLBACK), DONE))
    assert [one.version for one in history(rows, CHAMPION)] == [1, 2]
    assert (found := holder(rows, CHAMPION)) is not None
    assert (found.version, found.action) == (2, ROLLBACK)
    rows = happen(ledger, (promotion(1, ROLLBACK), DONE))
    assert [one.version for one in history(rows, CHAMPION)] == [1]


def test_what_was_moved_by_hand_holds_the_alias_and_what_was_refused_does_not(ledger: Ledger):
    rows = happen(
        ledger, (promotion(1), DONE), (promotion(2), REFUSED), (promotion(9, BY_HAND), NOTICED),
        (promotion(5, alias="staging"), DONE), (promotion(6, model="other"), DONE),
    )  # fmt: skip
    assert [one.version for one in history(rows, CHAMPION)] == [1, 9]
    assert aliases(rows) == [Alias("home", "other", "champion"), Alias("home", "addition", "staging"), CHAMPION]


def test_only_an_intention_that_nothing_came_of_is_unfinished(ledger: Ledger):
    first, second, third = promotion(1), promotion(2), promotion(3)
    rows = happen(ledger, (first, INTENDED), (first, DONE), (second, INTENDED), (third, INTENDED), (third, ABANDONED))
    assert [one.version for one in unfinished(rows)] == [2]
