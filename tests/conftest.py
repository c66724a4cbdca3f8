"""Shared by all tests: quiet libraries, no hub, a home in a temporary folder, and one Prefect server for the whole session."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli.main import leave
from flows.server import LocalServer, keep_quiet

# Registered first, so called last: as in the command, DuckDB's binding would print pages about objects that outlive
# the interpreter in Prefect's threads.
_left = [0]
atexit.register(leave, _left)

pytest_plugins = ["tests.small_run"]

_prefect_home = Path(tempfile.mkdtemp(prefix="starloop-prefect-"))
atexit.register(shutil.rmtree, _prefect_home, ignore_errors=True)
os.environ |= {"PREFECT_HOME": str(_prefect_home), "HF_HUB_OFFLINE": "1", "PREFECT_LOGGING_LEVEL": "ERROR"}
for _name in ("PREFECT_API_URL", "PREFECT_PROFILE", "MLFLOW_TRACKING_URI", "STARLOOP_HOME"):
    os.environ.pop(_name, None)
keep_quiet()


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """A real Prefect server on a free loopback port; PREFECT_API_URL points at it for the rest of the session."""
    server = LocalServer(_prefect_home / "server.log")
    server.start()
    server.wait()
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings(updates={PREFECT_API_URL: server.url}):
        yield server.url
    server.stop()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The exit code that the process ends with."""
    del session
    _left[0] = int(exitstatus)
