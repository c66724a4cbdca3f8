"""Killed between the ledger's writes and MLflow's: the next start makes them agree, and the decision stands there once."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flows.aliases import Registry, reconcile
from flows.progress import SilentListener
from storage.faults import POINTS
from storage.home import Home
from storage.ledger import Ledger
from storage.lineage import Lineage
from storage.promotions import (
    DONE,
    PROMOTE,
    ROLLBACK,
    Alias,
    Promotion,
    history,
    holder,
    promotions,
    recorded,
    unfinished,
)
from tasks.processes import Processes
from tests.small_run import once

MODEL = "addition-smoke"
CHAMPION = Alias("home", MODEL, "champion")

KILLED = (
    "promotion-before-intention",
    "promotion-after-intention",
    "promotion-after-tags",
    "promotion-after-alias",
    "promotion-after-done",
)


def decided(version: int, checkpoint_id: str, previous: int | None) -> Promotion:
    return Promotion(
        f"{version:032x}", "", PROMOTE, MODEL, "champion", "home", checkpoint_id, version, None, previous, None, None, False, None,
        2, [],
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _warm(warm, monkeypatch) -> None:
    monkeypatch.setenv("STARLOOP_WARM", warm)


@pytest.fixture(scope="module")
def promoted(small_run, tmp_path_factory, warm) -> Path:
    """The small run's home with two promotions: version 2, and 3 over it."""

    def make(folder: Path) -> Path:
        home = Home(shutil.copytree(small_run[0], folder / "home"))
        checkpoints = [one["checkpoint_id"] for one in small_run[1]["iterations"]]
        ledger = Ledger(home)
        with pytest.MonkeyPatch.context() as patch, Processes(home.logs, preload=("tracking",)) as processes:
            patch.setenv("STARLOOP_WARM", warm)
            registry = Registry(home, ledger, processes, SilentListener())
            registry.move(decided(2, checkpoints[1], None))
            registry.move(decided(3, checkpoints[2], 2))
        ledger.publish(force=True)
        ledger.close()
        return home.root

    return once(tmp_path_factory, "promoted", make)


def champion(home: Path) -> int:
    with closing(sqlite3.connect(f"file:{home / 'mlflow.db'}?mode=ro", uri=True)) as database:
        return database.execute("select version from registered_model_aliases where alias = 'champion'").fetchone()[0]


def start(home: Path) -> None:
    """What every start does first."""
    ledger = Ledger(Home(home))
    try:
        ledger.catch_up()
        reconcile(Home(home), ledger, SilentListener())
        ledger.publish(force=True)
    finally:
        ledger.close()


def test_every_point_of_a_promotion_has_a_test():
    assert set(KILLED) == {point for point in POINTS if point.startswith("promotion-")}


@pytest.mark.slow
@pytest.mark.parametrize("point", [
    pytest.param(point, marks=[] if point in ("promotion-after-intention", "promotion-after-alias") else pytest.mark.further_fault)
    for point in KILLED
])  # fmt: skip
def test_a_kill_between_the_writes_is_mended_by_the_next_start(point, promoted, tmp_path, starloop):
    """A rollback from version 3 to 2, which makes the same writes as a promotion and takes a tenth of its time."""
    home = shutil.copytree(promoted, tmp_path / "home")
    killed = starloop("rollback", MODEL, home=home, STARLOOP_FAULT=f"{point}:1")
    child = point == "promotion-after-tags"
    assert killed.returncode == (1 if child else -9), killed.stderr
    moved = point in ("promotion-after-alias", "promotion-after-done")
    assert champion(home) == (2 if moved else 3)
    wanted = 3 if point == "promotion-before-intention" else 2

    start(home)
    assert champion(home) == wanted
    ledger = Ledger(Home(home))
    rows = recorded(ledger)
    assert unfinished(rows) == []
    assert (known := holder(rows, CHAMPION)) is not None
    assert known.version == wanted
    done = [row for row in rows if row.action == ROLLBACK and row.state == DONE]
    assert len(done) == (0 if wanted == 3 else 1), "once"
    assert [one.version for one in history(rows, CHAMPION)] == ([2, 3] if wanted == 3 else [2])
    ledger.rebuild()
    assert recorded(ledger) == rows
    ledger.close()
    with Lineage.open(Home(home), fresh=True) as lineage:
        assert len(promotions(lineage)) == (2 if wanted == 3 else 3)


@pytest.mark.slow
def test_an_intention_that_was_overtaken_by_hand_is_given_up(promoted, tmp_path, starloop):
    home = shutil.copytree(promoted, tmp_path / "home")
    starloop("rollback", MODEL, home=home, STARLOOP_FAULT="promotion-after-intention:1")
    with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        database.execute("update registered_model_aliases set version = 1 where alias = 'champion'")
    start(home)
    ledger = Ledger(Home(home))
    *_, given_up, noticed = recorded(ledger)
    ledger.close()
    assert (given_up.state, given_up.reason) == ("abandoned", "the alias was moved to version 1 by hand meanwhile")
    assert (noticed.state, noticed.version, champion(home)) == ("noticed", 1, 1)
