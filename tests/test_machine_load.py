"""What a run asks of its machine, under MLflow's own names, and only where it is asked for."""

import time

import pytest

from tasks.machine_load import INTERVAL, SWITCH, MachineLoad, wanted


@pytest.mark.parametrize(("said", "expected"), [("true", True), ("1", True), ("false", False), ("", False)])
def test_it_is_switched_on_as_mlflows_own_is(monkeypatch, said, expected):
    monkeypatch.setenv(SWITCH, said)
    assert wanted() is expected


def test_figures_are_means_since_the_last_time_and_never_none(monkeypatch):
    monkeypatch.setenv(INTERVAL, "0.01")
    load = MachineLoad()
    load.start()
    time.sleep(0.1)
    first = load.since_last()
    load.stop()
    assert set(first) >= {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/system_memory_usage_percentage",
    }
    assert 0 < first["system/system_memory_usage_percentage"] <= 100
    assert load.since_last().keys() == first.keys(), "one sample at least, also right after"
