"""What others do to a run: end it, kill a child of it, damage or remove what it has written, run beside it."""

import os
import shutil
import signal
import time

import pytest

from storage.home import Home
from storage.ledger import Ledger
from storage.lineage import Lineage
from tests.faults.comparison import differences, faults_in, half_written, ledger_rows, told
from tests.faults.conftest import CELL, RUN, SAVE_STEPS
from tests.faults.outcomes import Outcome, counted
from tests.faults.trace import Redone
from tests.faults.under_way import UnderWay, soon

pytestmark = pytest.mark.slow
FURTHER = pytest.mark.further_fault


@pytest.fixture
def begin(prefect_server, tmp_path):
    """Starts the command on a home."""

    def start(home, *arguments, **environment):
        return UnderWay(home, tmp_path, [*RUN, *arguments], **{"PREFECT_API_URL": prefect_server, **environment})

    return start


def assert_as_undisturbed(home, undisturbed):
    assert differences(ledger_rows(home), undisturbed.rows) == []
    assert differences(told(home), undisturbed.told) == []
    assert faults_in(home) == []


@pytest.mark.parametrize("point", ["training-step", pytest.param("journal-after-append", marks=FURTHER)])
def test_sigterm_ends_it_with_nothing_half_written_and_no_child_left(
    point, undisturbed, new_home, begin, sit, outcomes
):
    with begin(new_home) as run:
        run.until(point, 5)
        told_at = time.monotonic()
        run.process.terminate()
        assert run.end() == -signal.SIGTERM
        took = time.monotonic() - told_at
        assert soon(lambda: not run.left(), 5), run.left()
    assert took < 10
    assert "Traceback" not in run.said
    assert half_written(new_home) == []
    with Lineage.open(Home(new_home)) as lineage:
        assert lineage.runs()[0].state == "cancelled"
    again = sit(new_home)
    assert again.done.returncode == 0, again.sentence
    assert_as_undisturbed(new_home, undisturbed)
    redone = Redone.between(undisturbed.sitting.trace, run.trace, again.trace)
    assert redone.requests <= 2 * CELL
    assert redone.steps <= SAVE_STEPS
    lost = counted(responses=run.trace.unsaved_responses, steps=run.trace.unsaved_steps)
    redone_s = counted(tasks=redone.tasks, requests=redone.requests, steps=redone.steps)
    outcomes.append(Outcome("SIGTERM", f"at `{point}`", lost, redone_s, again.seconds))


@FURTHER
def test_a_fine_tune_that_somebody_kills_is_gone_on_with(undisturbed, new_home, begin, sit, outcomes):
    with begin(new_home) as run:
        os.kill(run.until("training-step", 6), signal.SIGKILL)
        assert run.end() == 1
    assert "the process of tasks.training.sft:run was killed by SIGKILL (out of memory, if nobody did it)" in " ".join(
        run.said.split()
    )
    assert "Traceback" not in run.said
    again = sit(new_home)
    assert again.done.returncode == 0, again.sentence
    assert_as_undisturbed(new_home, undisturbed)
    redone = Redone.between(undisturbed.sitting.trace, run.trace, again.trace)
    assert (redone.tasks, redone.requests) == (1, 0)
    assert 0 < redone.steps <= SAVE_STEPS
    outcomes.append(
        Outcome("fine-tune killed", "by somebody else, at a step", counted(steps=run.trace.unsaved_steps),
                counted(tasks=redone.tasks, steps=redone.steps), again.seconds)
    )  # fmt: skip


@pytest.mark.parametrize("damage", ["flipped bytes", pytest.param("deleted", marks=FURTHER)])
def test_a_shard_that_is_damaged_or_gone_is_made_again_and_said(damage, undisturbed, sit, tmp_path, outcomes):
    home = shutil.copytree(undisturbed.home, tmp_path / "home")
    shard = newest(home, "attempt")
    before = shard.read_bytes()
    if damage == "deleted":
        shard.unlink()
    else:
        content = bytearray(before)
        content[len(content) // 2] ^= 0xFF
        shard.write_bytes(content)
    again = sit(home)
    assert again.done.returncode == 0, again.sentence
    said = " ".join(again.done.stdout.split())
    assert f"was dropped: a shard of its attempt rows is {'gone' if damage == 'deleted' else 'damaged'}" in said
    assert shard.read_bytes() == before
    assert again.trace.count("task-before-work") == 1
    assert again.trace.count("engine-response") == 0  # the ledger has the rows
    assert_as_undisturbed(home, undisturbed)
    outcomes.append(Outcome(f"a shard, {damage}", "the run was complete", "nothing", "1 task", again.seconds))


@pytest.mark.parametrize("place", ["head", *(pytest.param(place, marks=FURTHER) for place in ("middle", "cut off"))])
def test_a_ledger_that_is_damaged_is_one_sentence_and_comes_back_from_its_events(
    place, undisturbed, sit, tmp_path, outcomes
):
    home = shutil.copytree(undisturbed.home, tmp_path / "home")
    damage(home / "ledger.duckdb", place)
    refused = sit(home)
    if refused.done.returncode:  # a page in the middle may be one that nobody had to read
        assert "ledger.duckdb cannot be used" in refused.sentence
        assert refused.done.returncode == 1
    else:
        assert place == "middle"
    assert "Traceback" not in refused.sentence + refused.done.stdout
    (home / "ledger.duckdb").unlink()
    ledger = Ledger(Home(home))
    ledger.rebuild()
    ledger.publish(force=True)
    ledger.close()
    assert_as_undisturbed(home, undisturbed)
    again = sit(home)
    assert again.done.returncode == 0, again.sentence
    assert again.trace.count("task-before-work") == 0
    assert_as_undisturbed(home, undisturbed)
    outcomes.append(
        Outcome(f"`ledger.duckdb` damaged, {place}", "the run was complete", "nothing", "nothing", again.seconds)
    )


@pytest.mark.parametrize("place", ["middle", *(pytest.param(place, marks=FURTHER) for place in ("head", "cut off"))])
def test_a_snapshot_that_is_damaged_is_one_sentence_and_is_published_again(place, undisturbed, tmp_path, starloop):
    home = shutil.copytree(undisturbed.home, tmp_path / "home")
    damage(home / "lineage.duckdb", place)
    refused = starloop("sql", "select count(*) from attempt where length(text) > 0", home=home)
    assert "Traceback" not in refused.stderr + refused.stdout
    assert refused.returncode == 0 or "lineage.duckdb cannot be used" in refused.stderr
    (home / "lineage.duckdb").unlink()
    assert starloop("sql", "select count(*) from attempt", home=home).returncode == 0
    assert_as_undisturbed(home, undisturbed)


def test_two_runs_in_one_home_share_the_work(undisturbed, new_home, begin, outcomes):
    begun = time.monotonic()
    with begin(new_home) as first, begin(new_home) as second:
        assert (first.end(), second.end()) == (0, 0), first.said + second.said
    assert_as_undisturbed(new_home, undisturbed)
    redone = Redone.between(undisturbed.sitting.trace, first.trace, second.trace)
    assert redone == Redone(0, 0, 0)
    outcomes.append(
        Outcome("two runs at once", "the same command twice", "nothing", "nothing", time.monotonic() - begun)
    )


def newest(home, table):
    """The shard of a table that was written last."""
    return max((home / "shards" / table).glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)


def damage(path, place):
    size = path.stat().st_size
    if place == "cut off":
        os.truncate(path, size // 2)
        return
    with path.open("r+b") as file:
        file.seek(0 if place == "head" else size // 2)
        content = file.read(4096)
        file.seek(-len(content), os.SEEK_CUR)
        file.write(bytes(byte ^ 0xFF for byte in content))
