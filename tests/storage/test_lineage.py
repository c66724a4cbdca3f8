import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from small_loop import Story

from storage.errors import UserMistake
from storage.home import Home
from storage.identity import digest
from storage.ledger import Ledger
from storage.lineage import Lineage, find_checkpoint, stored_attempts
from storage.snapshot import STORED

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lineage(told: Story):
    with Lineage.open(told.home) as lineage:
        yield lineage


def test_a_run_is_told_with_its_settings_and_end(told: Story, lineage: Lineage):
    run = lineage.run(told.run_id)
    assert (run.name, run.method, run.config, run.state, run.facts) == (
        "small",
        "star",
        {"samples": 1},
        "completed",
        {"final": 1.0},
    )
    assert run.finished_at is not None
    assert run.finished_at >= run.started_at
    assert run.started_at.utcoffset() is not None
    assert lineage.runs() == [run]


def test_steps_are_told_in_order_with_their_accounting(told: Story, lineage: Lineage):
    steps = lineage.steps(told.run_id)
    assert [step.step for step in steps] == [commit.name for commit in told.commits]
    sample = next(step for step in steps if step.step == "sample")
    assert (sample.asked, sample.ok, sample.failed, sample.rows_written) == (4, 3, 1, 8)


def test_undecided_and_failed_attempts_stay_out_of_the_pass_rate(told: Story, lineage: Lineage):
    first, second = lineage.yields(told.run_id)
    assert (first.attempts, first.kept, first.undecided, first.failed, first.pass_rate) == (4, 1, 1, 1, 0.5)
    assert (first.rationalized, first.rationalized_kept, first.problems, first.problems_solved) == (1, 1, 4, 1)
    assert dataclasses.replace(second, iteration=1) == first


def test_every_attempt_is_there_once_an_iteration_rejected_ones_too(told: Story, lineage: Lineage):
    rows = lineage.query(
        "select iteration, step, count(*), count(distinct attempt_id), count(passed) from v_attempt group by 1, 2 order by 1, 2"
    ).rows
    assert rows == [
        (n, *rest) for n in (1, 2) for rest in (("answer dev", 2, 2, 1), ("rationalize", 1, 1, 1), ("sample", 4, 4, 2))
    ]
    assert told.ids["right 1"]


def test_a_verdict_on_another_aspect_changes_no_attempt(lineage: Lineage):
    assert lineage.query("select count(*) from v_verdict where aspect = ''").rows == [(14,)]


def test_an_iteration_is_told_as_it_was_last_written_down(told: Story, lineage: Lineage):
    figures = lineage.iterations(told.run_id)
    assert [(one.iteration, one.held_out_accuracy, one.n, one.kept) for one in figures] == [
        (1, 1.0, 2, 2),
        (2, 1.0, 2, 2),
    ]
    assert figures[0].checkpoint_id == told.ids["model 1"]


def test_evaluations_are_told_by_stratum_without_the_undecided(told: Story, lineage: Lineage):
    scored = lineage.evaluations(told.run_id)
    assert [(one.iteration, one.step, one.evaluation.accuracy) for one in scored] == [
        (1, "evaluate dev", 1.0),
        (2, "evaluate dev", 1.0),
    ]
    one, two = lineage.per_stratum(told.ids["evaluation 1"])
    assert (one.stratum, one.n, one.passed, one.accuracy) == ("1", 1, 1, 1.0)
    assert (two.stratum, two.n, two.undecided, two.accuracy) == ("2", 1, 1, None)


def test_a_training_set_is_told_in_order_with_who_wrote_it(told: Story, lineage: Lineage):
    rows = lineage.training_set(told.ids["model 1"])
    assert [(row.position, row.origin, row.prompt, row.completion) for row in rows] == [
        (0, "sampled", "1+1=", "2"), (1, "rationalized", "2+2=", "4"), (2, "original", "99+99=", "198")
    ]  # fmt: skip
    assert [row.written_by for row in rows] == [told.ids["base"], told.ids["base"], None]
    assert [row.written_by for row in lineage.training_set(told.ids["model 2"])] == [told.ids["model 1"]] * 2
    assert lineage.training_set(told.ids["model 1"], limit=1) == rows[:1]


def test_ancestry_goes_down_to_the_base_and_not_to_who_wrote_the_same_later(told: Story, lineage: Lineage):
    """Model 1 wrote again what it had been trained on; that makes it no ancestor of itself, nor of the base."""
    one = lineage.checkpoint_ancestry(told.ids["model 1"])
    assert [(ancestor.checkpoint_id, ancestor.depth) for ancestor in one] == [
        (told.ids["model 1"], 0),
        (told.ids["base"], 1),
    ]
    two = lineage.checkpoint_ancestry(told.ids["model 2"])
    assert {ancestor.checkpoint_id for ancestor in two} == {told.ids["model 2"], told.ids["model 1"], told.ids["base"]}
    assert [(parent.relation, parent.parent_id) for parent in two[0].parents] == [
        ("base", told.ids["base"]), ("rationalized", told.ids["model 1"]), ("repairs", told.ids["model 1"]), ("sampled", told.ids["model 1"]),
    ]  # fmt: skip
    assert (one[0].rows, one[0].original_rows) == (3, 1)


def test_an_example_is_followed_back_to_the_base_and_on_to_its_uses(told: Story, lineage: Lineage):
    told_of = lineage.example_lineage(told.ids["mended"])
    first = next(source for source in told_of.sources if source.mix_id == told.ids["model 1 mix"])
    assert (first.origin, first.attempt_id, first.hinted, first.prompt, first.passed) == (
        "rationalized",
        told.ids["repaired 1"],
        True,
        "2+2=!",
        True,
    )
    assert first.checkpoint_id == told.ids["base"]
    links = [link for link in told_of.links if link.mix_id == told.ids["model 2 mix"]]
    reached = {link.to_id for link in links if link.to_kind == "checkpoint"}
    assert reached == {told.ids["model 1"], told.ids["base"]}
    assert {link.to_kind for link in links} == {
        "problem",
        "attempt",
        "prompt",
        "verdict",
        "checkpoint",
        "training",
        "mix",
    }
    joined = {(link.to_kind, link.to_id) for link in links} | {("example", told.ids["mended"])}
    assert all((link.kind, link.id) in joined for link in links)
    assert {use.checkpoint_id for use in told_of.uses} == {told.ids["model 1"], told.ids["model 2"]}


def test_a_snapshot_holds_the_rows_that_its_slow_views_would_find(told: Story, lineage: Lineage):
    with told.ledger.writer() as ledger:
        for view in STORED:
            found = lineage.query(f"from {view} order by all").rows
            assert found == ledger.execute(f"from {view} order by all").fetchall()
            assert found
            tables = f"select count(*) from duckdb_tables() where table_name = '{view}'"
            assert lineage.query(tables).rows == [(1,)]
            assert ledger.execute(f"{tables} and database_name = 'ledger'").fetchall() == [(0,)]


def test_an_example_is_in_the_history_of_all_that_came_of_it(told: Story, lineage: Lineage):
    """Model 2 was trained on what model 1 wrote, so what only model 1 was trained on is in its history too."""
    base, one, two = (told.ids[name] for name in ("base", "model 1", "model 2"))
    reached = [(found.checkpoint_id, found.depth) for found in lineage.example_descendants(told.ids["original"])]
    assert reached == [*sorted([(base, 0), (one, 0)]), (two, 1)]
    assert {found.depth for found in lineage.example_descendants(told.ids["direct"])} == {0}
    with pytest.raises(UserMistake, match="no example"):
        lineage.example_descendants("exm_ffff")


def test_an_example_that_no_model_wrote_has_a_lineage_too(told: Story, lineage: Lineage):
    told_of = lineage.example_lineage(told.ids["original"])
    assert {(source.origin, source.attempt_id) for source in told_of.sources} == {("corpus", None), ("original", None)}
    assert {link.to_kind for link in told_of.links} == {"problem"}


def test_stored_attempts_are_found_by_request_and_failed_ones_are_asked_again(told: Story, home: Home):
    wanted = [told.ids["request 1"], told.ids["failed request 1"], "0" * 32]
    assert [one.attempt_id for one in stored_attempts(told.home, wanted, "scripted").values()] == [told.ids["right 1"]]
    assert stored_attempts(told.home, wanted, "another") == {}
    assert stored_attempts(home, wanted, "scripted") == {}


def test_an_id_can_be_given_by_its_beginning(told: Story, lineage: Lineage):
    identity = told.ids["model 1"]
    assert find_checkpoint(told.home, f"ckp_{identity[:10]}").checkpoint_id == identity
    assert lineage.find(identity[:12].upper()).kind == "checkpoint"
    assert lineage.find(f"exm_{told.ids['direct']}").kind == "example"


@pytest.mark.parametrize("text", ["", "ckp_", "zz", "nothing at all", "ckp_zz", "f" * 40])
def test_what_is_no_id_is_refused(lineage: Lineage, text: str):
    with pytest.raises(UserMistake):
        lineage.find(text)
    with pytest.raises(UserMistake, match="no checkpoint"):
        lineage.checkpoint(text)


def test_an_unknown_id_names_the_nearest(told: Story, lineage: Lineage):
    wrong = told.ids["model 1"][:6] + "0" * 26
    with pytest.raises(UserMistake, match=f"no checkpoint .*; the nearest: ckp_{told.ids['model 1']}"):
        lineage.checkpoint(wrong)
    with pytest.raises(UserMistake, match="no example"):
        lineage.example_lineage(digest("nothing"))


@pytest.mark.parametrize(
    "sql",
    [
        "insert into run select * from run", "delete from run", "update run set name = 'x'", "drop table run", "create table x (i int)",
        "create temp table x (i int)", "create view x as select 1", "alter table run add column x int", "truncate run",
        "copy run to 'out.csv'", "copy (select 1) to '/dev/stdout'", "copy run from 'in.csv'", "export database 'out'",
        "attach 'other.duckdb' as other", "detach lineage", "install httpfs", "load httpfs", "set threads = 1", "reset threads",
        "use memory", "pragma enable_profiling", "call force_checkpoint()", "checkpoint", "vacuum", "begin", "prepare p as select 1",
        "select 1; delete from run", "explain analyze delete from run", "with x as (select 1) delete from run",
        "explain analyze copy run to 'out.csv'", "explain analyze create table x (i int)", "from query('delete from run')",
        "from query('copy run to ''out.csv''')", "merge into run using run r on false when matched then delete", "set variable x = 1",
        "execute p", "deallocate p", "import database 'in'", "comment on table run is 'x'", "create secret s (type http)",
        "create macro f() as 1", "create sequence s", "update extensions", "force install httpfs", "load './evil.so'",
        "from force_checkpoint()", "from enable_logging()", "from enable_profiling()",
    ],
)  # fmt: skip
def test_sql_that_would_change_anything_is_refused(
    lineage: Lineage, sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserMistake):
        lineage.query(sql)
    assert list(tmp_path.iterdir()) == []
    assert lineage.query("select count(*) from run").rows == [(1,)]


@pytest.mark.parametrize(
    "source",
    ["read_csv('/etc/passwd')", "read_text('/etc/passwd')", "read_blob('/etc/passwd')", "read_parquet('/etc/passwd')",
     "read_json('/etc/passwd')", "glob('/etc/*')", "'/etc/passwd'", "read_csv('http://127.0.0.1:9/x')", "sniff_csv('/etc/passwd')",
     "read_text(['/etc/passwd'])", "read_csv_auto('/dev/stdin')", "read_ndjson_objects('/etc/passwd')", "parquet_metadata('/etc/passwd')",
     "read_duckdb('/etc/passwd')", "'http://127.0.0.1:9/x.parquet'", "duckdb_secrets()"],
)  # fmt: skip
def test_sql_that_reads_a_file_is_refused(lineage: Lineage, source: str):
    with pytest.raises(UserMistake, match=r"disabled|does not exist|Permission"):
        lineage.query(f"select * from {source}")


def test_the_writers_own_database_is_out_of_reach(told: Story, lineage: Lineage):
    with pytest.raises(UserMistake, match="Permission"):
        lineage.query(f"select * from read_blob('{told.home.ledger_db}')")


def test_a_name_is_never_a_variable_of_the_program(lineage: Lineage):
    rows = pa.table({"secret": [1]})
    with pytest.raises(UserMistake, match="Table with name rows does not exist"):
        lineage.query("select * from rows")
    assert rows.num_rows == 1


def test_wrong_sql_is_answered_with_duckdbs_own_words(lineage: Lineage):
    with pytest.raises(UserMistake, match="Table with name v_yeild does not exist"):
        lineage.query("select * from v_yeild")
    with pytest.raises(UserMistake, match="syntax error"):
        lineage.query("selec 1")
    with pytest.raises(UserMistake, match="Could not convert"):
        lineage.query("select 'x'::integer")
    with pytest.raises(UserMistake, match="one question at a time: this is 0 statements"):
        lineage.query("-- nothing")


@pytest.mark.parametrize(
    "sql", ["show tables", "describe run", "summarize run", "explain select 1", "values (1)", "from run"]
)
def test_every_way_to_ask_is_allowed(lineage: Lineage, sql: str):
    assert lineage.query(sql).columns


def test_a_long_result_is_cut_off_and_says_so(lineage: Lineage):
    answer = lineage.query("select range as n from range(100000000000)", limit=3)
    assert (answer.columns, answer.rows, answer.more) == (("n",), [(0,), (1,), (2,)], True)
    assert not lineage.query("select 1", limit=1).more


def test_a_query_that_runs_for_ever_is_stopped(lineage: Lineage):
    began = time.monotonic()
    with pytest.raises(UserMistake, match=r"took longer than 0\.2 s"):
        lineage.query(
            "select count(*) from range(10000000) a, range(1000000) b where a.range + b.range < 0", timeout_s=0.2
        )
    assert time.monotonic() - began < 10
    with pytest.raises(UserMistake, match=r"took longer than 0\.2 s"):
        lineage.query(
            "with recursive t as (select 1 i union all select i from t) select count(*) from t", timeout_s=0.2
        )
    assert lineage.query("select 1").rows == [(1,)]


ASK_FOR_EVER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a script starts with it ignored
from pathlib import Path
from storage.home import Home
from storage.lineage import Lineage
with Lineage.open(Home.open(Path(sys.argv[1]))) as lineage:
    print("asking", flush=True)
    try:
        lineage.query("select count(*) from range(10000000) a, range(1000000) b where a.range + b.range < 0")
    except KeyboardInterrupt:
        print("stopped")
"""


def test_control_c_stops_a_query(told: Story):
    command = [sys.executable, "-c", ASK_FOR_EVER, str(told.home.root)]
    with subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "asking\n"
            time.sleep(0.5)
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == "stopped\n"
            assert child.wait(20) == 0
        finally:
            child.kill()


def test_asking_works_while_a_flow_writes(home: Home):
    writer = multiprocessing.get_context("spawn").Process(target=write_and_publish, args=(home.root,))
    Lineage.open(home).close()
    writer.start()
    seen = []
    while writer.is_alive():
        with Lineage.open(home) as lineage:
            seen.append(lineage.query("select count(*) from run").rows[0][0])
    writer.join()
    assert writer.exitcode == 0
    assert seen == sorted(seen)
    with Lineage.open(home) as lineage:
        assert len(lineage.runs()) == 6


def write_and_publish(root: Path) -> None:
    ledger = Ledger(Home.open(root))
    for n in range(6):
        ledger.start_run(str(n), "star", None, {})
        ledger.publish(force=True)


def test_a_fresh_look_sees_what_was_not_published_yet(home: Home):
    ledger = Ledger(home)
    ledger.start_run("one", "star", None, {})
    ledger.publish(force=True)
    ledger.start_run("two", "star", None, {})
    with Lineage.open(home) as old, Lineage.open(home, fresh=True) as new:
        assert [run.name for run in old.runs()] == ["one"]
        assert [run.name for run in new.runs()] == ["two", "one"]
    ledger.close()


def test_an_empty_home_can_be_asked(home: Home):
    with Lineage.open(home) as lineage:
        assert lineage.runs() == []
        assert lineage.query("select count(*) from v_attempt").rows == [(0,)]
        for view in lineage.query("select view_name from duckdb_views() where view_name like 'v|_%' escape '|'").rows:
            assert lineage.query(f"select * from {view[0]}").rows == []
