"""A small real run to be disturbed: one iteration on top of `small_run`'s base, and the same without any disturbance."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.comparison import ledger_rows, told
from tests.faults.outcomes import Outcome, forget, keep, kept, write
from tests.faults.sitting import Sitting, Undisturbed
from tests.faults.trace import Trace
from tests.small_run import once

RUN = [
    "run", "star", "--preset", "addition-smoke", "--iterations", "1", "--set", "seed=9",
    "--set", "problems_per_iteration=450", "--set", "training.save_steps=4",
]  # fmt: skip
"""Three cells of a hundred problems, two at a time; ten training steps. The base is the one of `small_run`: all of it is a hit."""

QUIET = {"PREFECT_LOGGING_LEVEL": "CRITICAL"}
"""As it is when a person runs the command."""

CELL = 100
SAVE_STEPS = 4


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-fault", action="store_true", help="disturb at every point and write docs/reliability.md")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The ordinary suite has one of each kind of disturbance; `make faults` has all."""
    if not config.getoption("--every-fault", default=False):
        further = [item for item in items if item.get_closest_marker("further_fault")]
        items[:] = [item for item in items if item not in further]
        config.hook.pytest_deselected(items=further)


Sit = Callable[..., Sitting]


@pytest.fixture
def new_home(small_run, tmp_path) -> Path:
    """A copy of the base's home."""
    return shutil.copytree(small_run[0], tmp_path / "home")


@pytest.fixture(scope="session")
def sit(starloop, tmp_path_factory) -> Sit:
    """Runs the command on a home, with a fault if one is given; `arguments` come after those of RUN."""

    def call(home: Path, *arguments: str, fault: str | None = None, **environment: str) -> Sitting:
        trace = tmp_path_factory.mktemp("trace") / "points"
        environment = (
            QUIET | environment | {"STARLOOP_FAULT_TRACE": str(trace)} | ({"STARLOOP_FAULT": fault} if fault else {})
        )
        begun = time.monotonic()
        done = starloop(*RUN, *arguments, home=home, **environment)
        return Sitting(done, Trace.read(trace), time.monotonic() - begun)

    return call


@pytest.fixture(scope="session")
def undisturbed(small_run, sit, tmp_path_factory) -> Undisturbed:
    def make(folder: Path) -> Undisturbed:
        home = shutil.copytree(small_run[0], folder / "home")
        before = ledger_rows(home)
        sitting = sit(home)
        assert sitting.done.returncode == 0, sitting.sentence
        made = Undisturbed(home, sitting, ledger_rows(home), told(home))
        grown = {table for table, rows in made.rows.items() if rows.total() > before[table].total()}
        assert grown >= {"attempt", "verdict", "derivation", "example_evidence", "mix", "mix_member", "training", "checkpoint",
                         "evaluation", "evaluation_item", "run", "step", "step_shard", "shard", "member"}  # fmt: skip
        empty = {what for what, rows in (made.rows | made.told).items() if rows.total() == 0}
        assert empty <= {"tombstone", "erased", "promotion", "node"}  # nothing was forgotten, promoted or searched here
        return made

    return once(tmp_path_factory, "undisturbed", make)


@pytest.fixture
def outcomes(undisturbed, request) -> Iterator[list[Outcome]]:
    """Where a test puts what its disturbance cost; kept once it has, whichever of the session's processes it runs in."""
    found: list[Outcome] = []
    yield found
    for outcome in found:
        keep(request.config, request.node.nodeid, outcome, undisturbed.sitting.seconds)


def pytest_sessionstart(session: pytest.Session) -> None:
    """What earlier sessions found counts only for one that goes on where they failed (`--last-failed`)."""
    if not hasattr(session.config, "workerinput") and not session.config.getoption("lf", default=False):
        forget(session.config)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The page is written when every disturbance of this session went well, with those of an earlier one that was cut short."""
    worker = hasattr(session.config, "workerinput")
    if session.config.getoption("--every-fault", default=False) and exitstatus == 0 and not worker:
        write(*kept(session.config))
