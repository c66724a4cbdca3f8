"""What MLflow needs of a home's checkpoints: what stands under an alias, adapters' bases, and what still waits to be told."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.errors import StorageFault
from storage.home import Home
from tasks import outbox
from tasks.outbox import Outbox
from tasks.registered import registered
from tasks.tracking_messages import Registration

AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.open(tmp_path / "home")
    with closing(sqlite3.connect(home.mlflow_db)) as database, database:
        database.execute("create table registered_model_aliases (alias text, version integer, name text)")
        database.execute("insert into registered_model_aliases values ('champion', 2, 'adder')")
    return home


def register(
    home: Home, number: int, base: str | None = None, to: str | None = None, *, delivered: bool = True
) -> None:
    folder = home.checkpoints / f"ckp{number}"
    kind, base_folder = ("adapter", home.checkpoints / base) if base else ("full", None)
    message = Registration(
        "loop", f"it{number}", number, folder.name, folder, "adder", AT, kind=kind, base_folder=base_folder
    )
    outbox.put(home.root, message, to)
    if delivered:
        box = Outbox(home.root)
        made = {"checkpoint_id": folder.name, "model_name": "adder", "alias": "candidate", "version": number}
        box.record(box.names()[-1], to or "home", made)


def test_an_alias_keeps_its_checkpoint_and_a_version_without_one_does_not(home: Home):
    register(home, 1)
    register(home, 2)
    assert registered(home) == {"ckp2": "adder version 2 in MLflow, under the alias champion"}


def test_an_adapter_keeps_its_base(home: Home):
    register(home, 1, base="ckp0")
    assert registered(home) == {"ckp0": "base of the adapter that is adder version 1 in MLflow"}


def test_what_waits_and_what_another_server_has_stays(home: Home):
    register(home, 1, to="http://mlflow.example")
    register(home, 3, delivered=False)
    assert registered(home) == {
        "ckp1": "adder version 1 in MLflow at http://mlflow.example",
        "ckp3": "it waits in the outbox to be registered in MLflow",
    }


def test_a_store_that_cannot_be_read_stops_the_collection(home: Home):
    home.mlflow_db.write_bytes(b"nothing" * 100)
    with pytest.raises(StorageFault, match="so it is not known which checkpoints it needs"):
        registered(home)
