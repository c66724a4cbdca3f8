"""A lent zygote: real forks of a process that has imported everything, under the borrower's environment."""

import os
import socket
import time

import pytest

from storage.errors import StarloopError
from tasks import warm as lending
from tasks.processes import Processes
from tests.processes.test_processes import TARGETS, alive, sleeper, soon

pytestmark = pytest.mark.slow


@pytest.fixture
def borrower(warm, monkeypatch, tmp_path):
    monkeypatch.setenv(lending.ADDRESS, warm)
    monkeypatch.setenv("STARLOOP_TEST_WORD", "of the borrower")
    monkeypatch.chdir(tmp_path)
    with Processes(tmp_path / "logs") as processes:
        yield processes


def test_a_child_of_a_lent_zygote_waits_for_no_import_and_lives_in_the_borrowers_environment(borrower, tmp_path):
    began = time.monotonic()
    seen = borrower.call(f"{TARGETS}:surroundings", log=tmp_path / "log")
    assert time.monotonic() - began < 3
    assert seen == {"word": "of the borrower", "folder": str(tmp_path), "torch": True}
    assert borrower.seconds == {}


def test_what_was_lent_ends_with_the_borrower(borrower, tmp_path):
    pids, errors, thread = sleeper(borrower, tmp_path)
    borrower.close()
    thread.join(10)
    assert isinstance(errors[0], StarloopError)
    assert soon(lambda: not any(map(alive, pids)))


def test_when_what_was_lent_is_killed_the_next_call_borrows_again(borrower, tmp_path):
    (child, zygote, _), _, thread = sleeper(borrower, tmp_path)
    os.kill(zygote, 9)
    thread.join(10)
    assert soon(lambda: not alive(child))
    assert borrower.call(f"{TARGETS}:surroundings")["torch"]
    assert borrower.seconds == {}


def test_nothing_is_lent_to_another_source_or_to_one_that_was_edited_since(warm, monkeypatch, tmp_path):
    assert not lending.edited_since(time.time())
    assert lending.edited_since(0)
    environment = {lending.ADDRESS: warm}
    with (tmp_path / "log").open("wb") as log:
        lent = lending.borrow(environment, log.fileno())
        assert isinstance(lent, socket.socket)
        lent.close()
        monkeypatch.setattr(lending, "ROOT", tmp_path)
        assert lending.borrow(environment, log.fileno()) is None


def test_without_an_answer_a_run_imports_for_itself(monkeypatch, tmp_path):
    monkeypatch.setenv(lending.ADDRESS, str(tmp_path / "nobody"))
    with Processes(tmp_path / "logs", preload=("tracking",)) as processes:
        assert processes.call(f"{TARGETS}:add", 1, 2)["sum"] == 3
