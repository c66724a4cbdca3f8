import shutil
from pathlib import Path

import pytest
from small_loop import tell

from storage.home import Home
from storage.ledger import Ledger
from storage.shards import Shards


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of an empty ledger: copied, since making its tables takes as long as most tests."""
    home = Home.open(tmp_path_factory.mktemp("empty") / "home")
    ledger = Ledger(home)
    ledger.publish(force=True)
    ledger.close()
    return home.ledger_db


@pytest.fixture
def home(tmp_path: Path, empty_ledger: Path) -> Home:
    home = Home.open(tmp_path / "home")
    shutil.copy(empty_ledger, home.ledger_db)
    return home


@pytest.fixture
def shards(home: Home) -> Shards:
    return Shards(home)


@pytest.fixture
def ledger(home: Home):
    ledger = Ledger(home)
    yield ledger
    ledger.close()


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory):
    """The small loop, published; shared, so tests only read it."""
    home = Home.open(tmp_path_factory.mktemp("told") / "home")
    ledger = Ledger(home)
    story = tell(home, ledger)
    ledger.publish(force=True)
    yield story
    ledger.close()
