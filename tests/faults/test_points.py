"""Killed at a named point, and run again: nothing lost, nothing doubled, and no more redone than was in flight."""

import ast
import re
from pathlib import Path

import pytest

from storage.faults import POINTS
from tests.faults.comparison import differences, faults_in, ledger_rows, told
from tests.faults.conftest import CELL, SAVE_STEPS
from tests.faults.outcomes import Outcome, counted
from tests.faults.trace import Redone

ROOT = Path(__file__).resolve().parents[2]
SIDE_BY_SIDE = 4
"""Cells that are under way together: `flows.loop.CELLS_SIDE_BY_SIDE`."""

PLACES = {"training-step": 7, "mlflow-after-version": 1}
"""Which time, where it is not half of how often an undisturbed run gets there."""

ALWAYS = ("result-before-write", "training-step", "mlflow-after-version")
"""The ordinary suite's three: the flow's own process, a training, a delivery."""


def called_points() -> set[str]:
    """The points that the code names, in calls of `reached` or as the last argument of `atomic_write`."""
    found: set[str] = set()
    for path in [path for package in ("storage", "tasks", "flows") for path in (ROOT / package).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                last = node.args[-1] if node.args else None
                named = node.func.id == "reached" or (node.func.id == "atomic_write" and len(node.args) == 3)
                if named and isinstance(last, ast.Constant):
                    found.add(str(last.value))
    return found


def test_every_point_stands_in_the_code():
    assert called_points() == set(POINTS)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("nowhere:1", "STARLOOP_FAULT names no point 'nowhere'; there are: run-after-start, "),
        ("training-step", "STARLOOP_FAULT=training-step does not fit; write training-step:1"),
        ("training-step:0", "STARLOOP_FAULT=training-step:0 does not fit"),
    ],
)
def test_a_fault_that_names_no_point_is_one_sentence(asked, sentence, tmp_path):
    import os
    import subprocess
    import sys

    command = [sys.executable, "-P", "-m", "flows.cli.main", "run", "star", "--preset", "addition-smoke"]
    settings = os.environ | {"STARLOOP_HOME": str(tmp_path / "home"), "STARLOOP_FAULT": asked}
    done = subprocess.run(command, capture_output=True, text=True, env=settings, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"starloop: {sentence}")
    assert not (tmp_path / "home").exists()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "point" in metafunc.fixturenames:
        every = metafunc.config.getoption("--every-fault", default=False)
        # A run moves no alias of its own: see test_promotion.py.
        metafunc.parametrize(
            "point", [point for point in POINTS if not point.startswith("promotion-")] if every else ALWAYS
        )


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(point, undisturbed, new_home, sit, outcomes):
    plain = undisturbed.sitting.trace
    number = PLACES.get(point) or plain.middle(point)
    assert number > 0, f"an undisturbed run never gets to {point}"

    killed = sit(new_home, fault=f"{point}:{number}")
    assert killed.trace.killed == point
    if killed.done.returncode == -9:
        died = "the flow"
    else:  # a child of it: said in one sentence, and only a delivery leaves the run going
        died = re.search(r"the process of (tasks\.\w+|the engine)", killed.done.stdout + killed.sentence)[1]
        assert "was killed by SIGKILL" in " ".join((killed.done.stdout + killed.sentence).split())
        assert "Traceback" not in killed.done.stdout + killed.sentence
        assert killed.done.returncode == (0 if died == "tasks.tracking" else 1)

    again = sit(new_home)
    assert again.done.returncode == 0, again.sentence
    assert differences(ledger_rows(new_home), undisturbed.rows) == []
    assert differences(told(new_home), undisturbed.told) == []
    assert faults_in(new_home) == []

    redone = Redone.between(plain, killed.trace, again.trace)
    assert 0 <= redone.tasks <= SIDE_BY_SIDE
    assert 0 <= redone.requests <= 2 * CELL  # a local engine's cells in flight: two engines
    assert 0 <= redone.steps <= SAVE_STEPS
    lost = counted(responses=killed.trace.unsaved_responses, steps=killed.trace.unsaved_steps)
    again_done = counted(tasks=redone.tasks, requests=redone.requests, steps=redone.steps)
    outcomes.append(Outcome(f"`{point}:{number}`, {died}", POINTS[point], lost, again_done, again.seconds))
