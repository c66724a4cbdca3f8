from pathlib import Path

import pytest
from small_loop import tell

from storage.home import Home
from storage.ledger import Ledger
from storage.shards import Shards


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


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
