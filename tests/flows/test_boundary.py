"""Faults of servers and disks reach a person as one sentence; a defect of ours keeps its traceback."""

import errno

import httpx
import pytest

from flows.cli.boundary import attributed
from storage.errors import ServerFault, StorageFault, StorageFull


def raised(error, cause=None):
    try:
        raise error from cause
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("All connection attempts failed"),
        httpx.ReadTimeout("timed out"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        raised(RuntimeError("Failed to reach API at http://127.0.0.1:9/api/"), httpx.ConnectError("refused")),
    ],
)
def test_a_server_that_went_away_is_named_with_what_to_do(error, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    fault = attributed(error)
    assert isinstance(fault, ServerFault)
    assert str(fault).startswith("the Prefect server at http://127.0.0.1:9/api stopped answering")
    assert "give the same command again" in str(fault)


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/a/b"), StorageFault, "/a/b is not there"),
        (PermissionError(errno.EACCES, "Permission denied", "/a/b"), StorageFault, "cannot write /a/b (Permission denied)"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), StorageFull, "no space to write /a/b"),
        (OSError(errno.ENOSPC, "No space left on device"), StorageFull, "no space to write"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_named(error, kind, sentence):
    fault = attributed(error)
    assert type(fault) is kind
    assert sentence in str(fault)


def test_a_defect_of_ours_is_nobodys_fault():
    assert attributed(KeyError("accuracy")) is None
    assert attributed(raised(RuntimeError("broken"), KeyError("accuracy"))) is None
