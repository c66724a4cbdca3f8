"""A run without a terminal: lines, also while a long step goes on."""

import io

from rich.console import Console

from flows.cli.console import LINE_EVERY_S, ConsoleListener


def test_a_long_step_says_how_far_it_is_every_few_seconds(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    written = io.StringIO()
    with ConsoleListener(Console(file=written, width=100)) as told:
        told.step_started(0, "pre-train", 1)
        for step in range(0, 500, 10):
            now[0] += 1
            told.advance("fine-tune", step, 500)
    lines = written.getvalue().splitlines()
    assert len(lines) == 50 // LINE_EVERY_S
    assert "0 pre-train" in lines[0]
    assert "90 of 500 so far" in lines[0]


def test_a_short_step_says_nothing_on_the_way():
    written = io.StringIO()
    with ConsoleListener(Console(file=written, width=100)) as told:
        told.step_started(1, "sample", 1)
        told.advance("sample", 1, 2)
    assert written.getvalue() == ""
