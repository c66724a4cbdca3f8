"""The benchmarks run, on a ledger small enough for a test: what they measure on is sound, and both databases agree on it."""

import pytest

from benchmarks.scale import LINES, measure
from storage.home import Home
from storage.ledger import Ledger


@pytest.mark.slow
def test_a_synthetic_ledger_is_sound_and_sqlite_gives_the_same_answers(tmp_path):
    found = measure(2_000, tmp_path, sqlite=True)
    assert {line.key for line in LINES} - found.keys() == {"flow_peak", "flow_s"}
    assert found["characters"] >= 200
    assert found["rows"] > 4_000
    ledger = Ledger(Home(tmp_path / "home"))
    faults = [fault for fault in ledger.verify() if "checkpoint" not in fault]  # it has no files of weights
    ledger.close()
    assert faults == []
