import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest
from small_loop import attempt, contents, problem, tell, verdict

from storage.database import Database, held, migrations
from storage.errors import AccountingError, DamagedShard, StorageFault, UserMistake
from storage.events import Events
from storage.home import Home
from storage.identity import digest
from storage.ledger import Ledger, StepCommit
from storage.manifest import Accounting, Manifest, Output
from storage.records import Attempt, Example
from storage.shards import Shards

ROOT = Path(__file__).parents[2]


def step(
    run_id: str, name: str, written: dict[str, Manifest], *, facts: dict | None = None, hit: bool = False
) -> StepCommit:
    output = Output(written, Accounting(1, 1), facts or {})
    return StepCommit(run_id, 1, name, name, digest(name), {"part": name}, hit, "task", 0.1, 2.0, {}, output)


UNUSED = {"erased", "node", "promotion", "tombstone"}
"""Tables that what `tell` tells leaves empty."""


def count(ledger: Ledger, table: str) -> int:
    with ledger.writer() as connection:
        return connection.execute(f"select count(*) from {table}").fetchall()[0][0]


def test_a_whole_loop_is_sound_and_rebuilds_to_the_same_rows(home: Home, ledger: Ledger):
    tell(home, ledger)
    assert ledger.verify() == []
    before = contents(ledger)
    assert {table for table in before if not before[table]} == UNUSED
    ledger.rebuild()
    assert contents(ledger) == before


def test_deleted_databases_come_back_by_themselves(home: Home, ledger: Ledger):
    tell(home, ledger)
    before = contents(ledger)
    ledger.close()
    home.ledger_db.unlink()  # its log is left behind, and belongs to nothing now
    again = Ledger(home)
    assert contents(again) == before
    again.close()


def test_committing_again_adds_nothing(home: Home, ledger: Ledger):
    story = tell(home, ledger)
    before = contents(ledger)
    assert ledger.commit_steps(story.commits) == []
    assert ledger.commit_steps([dataclasses.replace(one, hit=True, work_s=0.0) for one in story.commits]) == []
    assert contents(ledger) == before
    assert len(list(home.events.iterdir())) == len(before["event"])


def test_a_run_started_again_goes_on(ledger: Ledger):
    run_id = ledger.start_run("first", "star", "quick", {"iterations": 4}, run_id=digest("run"))
    ledger.finish_run(run_id, "stopped", {"why": "budget"})
    assert ledger.start_run("first", "star", "quick", {"iterations": 6}, run_id=run_id) == run_id
    with ledger.writer() as connection:
        rows = connection.execute("select state, starts, finished_at, config->>'iterations' from run").fetchall()
    assert rows == [("running", 2, None, "6")]


def test_a_step_done_differently_takes_the_place_of_the_old_one(shards: Shards, ledger: Ledger):
    run_id = ledger.start_run("r", "star", None, {})
    old, new = shards.write("example", [Example.of("a", "b")]), shards.write("example", [Example.of("c", "d")])
    ledger.commit_steps([step(run_id, "mix", {"examples": old}, facts={"n": 1})])
    assert ledger.commit_steps([step(run_id, "mix", {"examples": new}, facts={"n": 2})])
    with ledger.writer() as connection:
        assert connection.execute("select facts->>'n' from step").fetchall() == [("2",)]
        assert [row[0].hex for row in connection.execute("select digest from step_shard").fetchall()] == list(
            new.shards
        )
    assert count(ledger, "example") == 2
    assert count(ledger, "event") == 3


def test_of_two_rows_with_one_id_the_first_stays(shards: Shards, ledger: Ledger):
    run_id = ledger.start_run("r", "star", None, {})
    _, row = attempt(problem(1), "2", "c" * 32)
    later = dataclasses.replace(row, logprob=-1.5)
    first = shards.write("attempt", [dataclasses.replace(row, logprob=-1.0), later])
    ledger.commit_steps(
        [step(run_id, "one", {"a": first}), step(run_id, "two", {"a": shards.write("attempt", [later])})]
    )
    with ledger.writer() as connection:
        assert connection.execute("select logprob from attempt").fetchall() == [(-1.0,)]
    assert count(ledger, "member") == 3
    before = contents(ledger)
    ledger.rebuild()
    assert contents(ledger) == before


def test_a_step_that_lost_a_row_is_refused_and_not_recorded(shards: Shards, ledger: Ledger):
    run_id = ledger.start_run("r", "star", None, {})
    short = dataclasses.replace(step(run_id, "sample", {}), output=Output({}, Accounting(asked=3, ok=1, rejected=1)))
    with pytest.raises(AccountingError, match="was asked for 3 rows and accounts for 1 ok, 1 rejected"):
        ledger.commit_steps([short])
    assert (count(ledger, "step"), count(ledger, "event")) == (0, 1)


def test_a_step_without_its_shard_or_run_is_refused_and_not_recorded(shards: Shards, ledger: Ledger):
    run_id = ledger.start_run("r", "star", None, {})
    manifest = shards.write("example", [Example.of("a", "b")])
    with pytest.raises(UserMistake, match="there is no run"):
        ledger.commit_steps([step("f" * 32, "mix", {"examples": manifest})])
    shards.path("example", manifest.shards[0]).unlink()
    with pytest.raises(DamagedShard, match="which is missing"):
        ledger.commit_steps([step(run_id, "mix", {"examples": manifest})])
    assert (count(ledger, "step"), count(ledger, "event")) == (0, 1)


def test_a_shard_that_was_lost_is_named_and_taken_in_when_it_is_back(shards: Shards, ledger: Ledger):
    run_id = ledger.start_run("r", "star", None, {})
    rows = [Example.of("a", "b")]
    manifest = shards.write("example", rows)
    ledger.commit_steps([step(run_id, "mix", {"examples": manifest})])
    shards.path("example", manifest.shards[0]).unlink()
    ledger.rebuild()
    assert count(ledger, "example") == 0
    assert any(manifest.shards[0] in sentence for sentence in ledger.verify())
    shards.write("example", rows)
    ledger.commit_steps([step(run_id, "mix again", {"examples": manifest})])
    assert count(ledger, "example") == 1
    assert ledger.verify() == []


@pytest.mark.parametrize("how", ["bytes", "cut"])
def test_a_shard_that_changes_after_it_was_written_is_left_out_and_named(shards: Shards, ledger: Ledger, how: str):
    """This process does not read again what it wrote; but it notices that a file is not the one that it wrote."""
    run_id = ledger.start_run("r", "star", None, {})
    good, bad = (shards.write("example", [Example.of(text, "b" * 5000)]) for text in ("good", "bad"))
    path = shards.path("example", bad.shards[0])
    assert shards.own(bad.shards[0], "example")
    data = path.read_bytes()
    if how == "bytes":
        path.write_bytes(data[:100] + b"?" + data[101:])
    else:
        path.write_bytes(data[:-10])
    assert not shards.own(bad.shards[0], "example")
    ledger.commit_steps([step(run_id, "mix", {"good": good, "bad": bad})])
    assert count(ledger, "example") == 1
    assert any(bad.shards[0] in sentence for sentence in ledger.verify())


def test_a_shard_that_is_damaged_behind_the_back_of_its_writer_undoes_nothing(shards: Shards, ledger: Ledger):
    """The size and time of the file are as they were: DuckDB stumbles over it, and then every shard is digested."""
    run_id = ledger.start_run("r", "star", None, {})
    good, bad = (shards.write("example", [Example.of(text, "b" * 5000)]) for text in ("good", "bad"))
    path = shards.path("example", bad.shards[0])
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-8, 2)
        file.write(b"\xff" * 4)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert shards.own(bad.shards[0], "example")
    ledger.commit_steps([step(run_id, "mix", {"good": good, "bad": bad})])
    assert (count(ledger, "example"), count(ledger, "step"), count(ledger, "shard")) == (1, 1, 1)


def test_rows_that_come_again_in_other_shards_are_taken_in_once(shards: Shards, ledger: Ledger):
    """Within a shard, across the shards of a step, and across steps; a shard's own order stays with its members."""
    run_id = ledger.start_run("r", "star", None, {})
    rows = [Example.of("p", str(n)) for n in range(6)]
    first = shards.write("example", [rows[3], rows[1], rows[3]])
    second = shards.write("example", [rows[1], rows[5], rows[0]])
    ledger.commit_steps([step(run_id, "one", {"a": first, "b": second})])
    ledger.commit_steps([step(run_id, "two", {"a": shards.write("example", rows)})])
    with ledger.writer() as connection:
        found = [row[0] for row in connection.execute("select completion from example").fetchall()]
        places = connection.execute("select m.row, e.completion from member m join example e on e.example_id = m.id "
                                    "where m.digest = ? order by 1", [first.shards[0]]).fetchall()  # fmt: skip
    assert sorted(found) == ["0", "1", "2", "3", "4", "5"]
    assert places == [(0, "3"), (1, "1"), (2, "3")]
    assert ledger.verify() == []


def test_verify_names_what_is_wrong(home: Home, ledger: Ledger):
    tell(home, ledger)
    with ledger.writer() as connection:
        connection.execute("insert into attempt select * from attempt limit 1")
        connection.execute("delete from prompt where hinted")
        connection.execute("update mix set rows = 7")
        connection.execute("update step set ok = ok + 1 where name = 'sample'")
    damaged = next(iter((home.shards / "verdict").glob("*.parquet")))
    damaged.write_bytes(damaged.read_bytes()[:100])
    home.events.joinpath("000000000003.json").unlink()
    said = "\n".join(ledger.verify())
    for part in (
        "attempt: 1 rows stand more than once",
        "attempt.prompt_id: 2 rows refer to a prompt",
        "says it has 7 members",
        "step sample sample was asked for 4 rows and accounts for 5",
        damaged.stem,
        "event 3 is in the ledger and its file",
    ):
        assert part in said
    assert said.count("\n") < 20


DIE = """
import os, signal, sys
from pathlib import Path
from storage.home import Home
from storage.ledger import Ledger
from storage.shards import Shards
sys.path.insert(0, "tests/storage")
from small_loop import tell

class Dying(Shards):
    def own(self, digest, table):
        if len(list(self.home.events.iterdir())) > 4:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().own(digest, table)

ledger = Ledger(Home.open(Path(sys.argv[1])))
ledger.shards = Dying(ledger.home)
tell(ledger.home, ledger)
"""


def test_what_a_killed_process_had_recorded_is_there_afterwards(home: Home, ledger: Ledger):
    done = subprocess.run(
        [sys.executable, "-c", DIE, str(home.root)], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    recorded = len(list(Events(home).all()))
    with duckdb.connect(
        str(home.ledger_db)
    ) as connection:  # as the dead process left it: the first iteration is not in it
        assert connection.execute("select count(*) from event").fetchall() == [(4,)]
    assert recorded == 4 + 11
    assert count(ledger, "event") == recorded
    assert ledger.verify() == []
    tell(home, ledger)
    resumed = contents(ledger)
    undisturbed = Ledger(Home.open(home.root.parent / "undisturbed"))
    tell(undisturbed.home, undisturbed)
    whole = contents(undisturbed)
    for table in whole.keys() - {"event", "run", "step"}:
        assert resumed[table] == whole[table]
        assert whole[table] or table in UNUSED
    assert len(resumed["step"]) == len(whole["step"])
    undisturbed.close()


def write_some(root: Path, writer: int, rounds: int) -> None:
    home = Home.open(root)
    ledger, shards = Ledger(home), Shards(home)
    run_id = ledger.start_run(f"writer {writer}", "star", None, {})
    for n in range(rounds):
        shared = shards.write("example", [Example.of(f"{n}", f"{k}") for k in range(5)])
        own = shards.write("example", [Example.of(f"{writer}", f"{n}"), Example.of("0", "1")])
        ledger.commit_steps([step(run_id, f"step {n}", {"shared": shared, "own": own})])
        ledger.publish(force=n % 3 == 0)
    ledger.finish_run(run_id, "completed")


def test_two_processes_write_one_home_and_corrupt_nothing(home: Home, ledger: Ledger):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_some, args=(home.root, writer, 5)) for writer in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert ledger.verify() == []
    assert (count(ledger, "step"), count(ledger, "run"), count(ledger, "event")) == (10, 2, 14)
    assert count(ledger, "example") == len({("0", "1")} | {(f"{n}", f"{k}") for n in range(5) for k in range(5)}
                                           | {(f"{w}", f"{n}") for w in (1, 2) for n in range(5)})  # fmt: skip
    before = contents(ledger)
    ledger.rebuild()
    assert contents(ledger) == before


def test_threads_share_one_ledger(ledger: Ledger):
    run_id = ledger.start_run("r", "star", None, {})
    threads = [threading.Thread(target=ledger.commit_steps, args=([step(run_id, f"{n}", {})],)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(ledger, "step") == 6


def test_a_busy_ledger_is_waited_for_and_then_said(home: Home):
    with (
        held(home.ledger_lock, 1),
        pytest.raises(StorageFault, match=f"busy for 0 s, held through .* by process {os.getpid()}"),
    ):
        Ledger(home, lock_wait_s=0.1).catch_up()


def test_a_ledger_from_a_newer_version_is_refused(home: Home, ledger: Ledger):
    with ledger.writer() as connection:
        connection.execute("insert into schema_version values (99, '0099_later', '')")
    with pytest.raises(
        StorageFault,
        match=rf"is a ledger of version 99, and this starloop knows versions up to {max(migrations())}; upgrade",
    ):
        ledger.start_run("r", "star", None, {})
    assert list(home.events.iterdir()) == []


def test_a_corrupt_database_is_said_and_rebuilt(home: Home, ledger: Ledger):
    tell(home, ledger)
    before = contents(ledger)
    ledger.publish(force=True)
    ledger.close()
    home.ledger_db.write_bytes(b"not a database" * 500)
    with pytest.raises(StorageFault, match="starloop rebuild"):
        ledger.catch_up()
    ledger.rebuild()
    assert contents(ledger) == before


def test_a_reader_keeps_its_snapshot_while_new_ones_are_published(home: Home, ledger: Ledger):
    run_id = ledger.start_run("r", "star", None, {})
    ledger.publish(force=True)
    with duckdb.connect(str(home.lineage_db), read_only=True) as reader:
        for n in range(3):
            ledger.commit_steps([step(run_id, f"{n}", {})])
            ledger.publish(force=True)
            assert reader.execute("select count(*) from step").fetchall() == [(0,)]
    with duckdb.connect(str(home.lineage_db), read_only=True) as reader:
        assert reader.execute("select count(*) from step").fetchall() == [(3,)]
    assert [path.name for path in home.root.glob(".*")] == []


def test_the_snapshot_is_in_a_format_that_older_duckdbs_read(home: Home, ledger: Ledger):
    ledger.start_run("r", "star", None, {})
    ledger.publish(force=True)
    with duckdb.connect(str(home.lineage_db), read_only=True) as reader:
        tags = reader.execute("select tags from duckdb_databases() where database_name = 'lineage'").fetchall()[0][0]
    assert tags["storage_version"].startswith("v1.2")


def test_publishing_costs_little_of_the_time(ledger: Ledger):
    run_id = ledger.start_run("r", "star", None, {})
    assert ledger.publish()
    began, published = time.monotonic(), 0
    for n in range(5):
        ledger.commit_steps([step(run_id, f"{n}", {})])
        published += ledger.publish()
    assert published <= 1 + (time.monotonic() - began) / 0.2
    assert ledger.publish(force=True)


def test_an_unchanged_ledger_is_not_published_again(ledger: Ledger):
    ledger.start_run("r", "star", None, {})
    ledger.publish(force=True)
    time.sleep(0.01)
    ledger._publish_s = 0.0
    assert not ledger.publish()


def test_events_are_numbered_once_among_processes(home: Home):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append_some, args=(home.root, writer)) for writer in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    events = list(Events(home).all())
    assert [event.seq for event in events] == list(range(1, 41))
    assert sorted((event.payload["writer"], event.payload["n"]) for event in events) == [
        (w, n) for w in (1, 2) for n in range(20)
    ]


def append_some(root: Path, writer: int) -> None:
    events = Events(Home.open(root))
    for n in range(20):
        events.append("noted", {"writer": writer, "n": n})


def test_an_event_that_is_none_is_named(home: Home, ledger: Ledger):
    ledger.record("noted", {"text": "naïve \U0001f989"})
    path = Events(home).path(1)
    assert json.loads(path.read_text())["payload"] == {"text": "naïve \U0001f989"}
    path.write_text("{")
    with pytest.raises(StorageFault, match=r"000000000001\.json is no event"):
        ledger.rebuild()


def test_an_event_of_a_kind_that_nobody_knows_is_kept(ledger: Ledger):
    ledger.record("from_the_future", {"a": [1, None, 2.5]})
    before = contents(ledger)
    ledger.rebuild()
    assert contents(ledger) == before
    assert "from_the_future" in before["event"][0]


def test_numbers_that_are_none_stay_out_of_events(home: Home, ledger: Ledger):
    with pytest.raises(ValueError, match="nan"):
        ledger.record("noted", {"loss": float("nan")})
    assert list(home.events.iterdir()) == []


def test_hostile_text_goes_through_the_ledger(shards: Shards, ledger: Ledger):
    run_id = ledger.start_run("'; drop table run; --", "star", None, {"x": "\0"})
    rows = [attempt(problem(1), text, "c" * 32)[1] for text in ("'); delete from attempt; --", "\0\0", "\u202e", "")]
    ledger.commit_steps([step(run_id, "s", {"a": shards.write("attempt", rows)})])
    with ledger.writer() as connection:
        assert sorted(row[0] for row in connection.execute("select text from attempt").fetchall()) == sorted(
            row.text for row in rows
        )
    assert isinstance(rows[0], Attempt)


def test_an_undecided_verdict_is_neither_passed_nor_failed(shards: Shards, ledger: Ledger):
    run_id = ledger.start_run("r", "star", None, {})
    _, row = attempt(problem(1), "?", "c" * 32)
    ledger.commit_steps([step(run_id, "s", {"v": shards.write("verdict", [verdict(row, None, "timeout")])})])
    with ledger.writer() as connection:
        assert connection.execute("select passed, reason from verdict").fetchall() == [(None, "timeout")]


def test_migrating_is_all_or_nothing(home: Home):
    database = Database(home)
    with database.locked(), database.attached() as connection:
        assert connection.execute("select version, name from schema_version").fetchall() == [
            (number, step.name) for number, step in sorted(migrations().items())
        ]
        assert max(migrations()) == len(migrations())
        assert (
            connection.execute(
                "select count(*) from duckdb_views() where view_name like 'v\\_%' escape '\\'"
            ).fetchall()[0][0]
            >= 15
        )
    database.close()
