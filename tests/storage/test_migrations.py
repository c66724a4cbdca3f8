"""Ledgers of older versions become today's in one transaction, with nothing lost."""

import shutil
from pathlib import Path

import duckdb
import pytest
from small_loop import contents, tell

from storage.database import STORAGE_VERSION, Database, migrations
from storage.home import Home
from storage.ledger import Ledger

NEWEST = max(migrations())


def tables(connection: duckdb.DuckDBPyConnection, database: str) -> set[str]:
    rows = connection.execute("select table_name from duckdb_tables() where database_name = ?", [database]).fetchall()
    return {row[0] for row in rows}


def as_version(version: int, ledger: Path, made: Path) -> None:
    """A ledger as a starloop of this version would have written it, with the rows that it knew."""
    with duckdb.connect() as connection:
        connection.execute(f"attach '{made}' as old (storage_version '{STORAGE_VERSION}')")
        connection.execute(f"attach '{ledger}' as today (read_only)")
        connection.execute("use old")
        connection.execute("create table schema_version (version integer, name varchar, views varchar)")
        for number in range(1, version + 1):
            script = migrations()[number]
            connection.execute(script.text)
            connection.execute("insert into schema_version values (?, ?, 'of then')", [number, script.name])
        for table in tables(connection, "old") - {"schema_version"}:
            columns = [row[0] for row in connection.execute(f"describe old.{table}").fetchall()]
            connection.execute(f"insert into old.{table} by name select {', '.join(columns)} from today.{table}")


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, dict[str, list[str]]]:
    home = Home.open(tmp_path_factory.mktemp("today") / "home")
    ledger = Ledger(home)
    tell(home, ledger)
    ledger.publish(force=True)
    rows = contents(ledger)
    ledger.publish(force=True)
    ledger.close()
    return home, rows


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
def test_a_ledger_of_every_version_migrates_with_nothing_lost(version: int, today, tmp_path: Path):
    origin, rows = today
    home = Home(shutil.copytree(origin.root, tmp_path / "home"))
    home.ledger_db.unlink()
    as_version(version, origin.ledger_db, home.ledger_db)
    ledger = Ledger(home)
    migrated = contents(ledger)
    assert migrated.pop("schema_version") == rows["schema_version"], "every migration, and today's views"
    assert migrated == {table: rows[table] for table in migrated}
    assert migrated.keys() == rows.keys() - {"schema_version"}
    assert migrated["attempt"]
    assert ledger.verify() == []
    ledger.close()


def test_a_migration_that_fails_changes_nothing(today, tmp_path: Path):
    origin, _ = today
    home = Home.open(tmp_path / "home")
    as_version(1, origin.ledger_db, home.ledger_db)
    with duckdb.connect(str(home.ledger_db)) as connection:
        connection.execute("create table tombstone (somebody varchar)")  # in the way, after `erased` has been made
        before = tables(connection, "ledger")
    database = Database(home)
    with pytest.raises(duckdb.CatalogException), database.locked(), database.attached():
        pass
    database.close()
    with duckdb.connect(str(home.ledger_db), read_only=True) as connection:
        assert tables(connection, "ledger") == before
        assert connection.execute("select max(version) from schema_version").fetchall() == [(1,)]
        assert connection.execute("select count(*) from attempt").fetchall()[0][0] > 0
