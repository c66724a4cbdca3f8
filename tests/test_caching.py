"""Cached tasks on a real Prefect server: what hits, what misses, and what a hit is checked for."""

import json
import shutil
from pathlib import Path

import pytest
from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from storage.errors import AccountingError
from storage.home import Home
from storage.manifest import Accounting, Manifest, Output
from storage.records import Example
from tasks.caching import StepRecord, cached_task, plain
from tasks.engines.protocol import Sampling
from tasks.processes import Processes
from tasks.runtime import Runtime

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]

ran: list[str] = []
texts = {"greeting": "hello"}


def text_of(name: str) -> object:
    return texts[name]


@cached_task("greet", template=text_of)
def greet(template: str, count: int, runtime: Runtime) -> Output:
    """Writes `count` greetings."""
    ran.append(f"{template} {count}")
    rows = [Example.of(f"{place}", texts[template]) for place in range(count)]
    return Output({"examples": runtime.shards.write("example", rows)}, Accounting(count, ok=count), {"rows": count})


@cached_task("shout")
def shout(examples: Manifest, runtime: Runtime) -> Output:
    """Writes them again, louder."""
    ran.append("shout")
    rows = [Example.of(row.prompt, row.completion.upper()) for row in runtime.shards.read(examples, Example)]
    return Output({"examples": runtime.shards.write("example", rows)}, Accounting(len(rows), ok=len(rows)))


@cached_task("lose a row")
def lose(examples: Manifest, runtime: Runtime) -> Output:
    """Says it was given more than it accounts for."""
    return Output({}, Accounting(asked=examples.rows, ok=examples.rows - 1))


@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def loud(home: Path, count: int, lossy: bool = False) -> tuple[list[StepRecord], list[bool]]:
    with Processes(home / "logs", preload=()) as processes:
        runtime = Runtime(Home.open(home), processes)
        first = greet.submit("greet", runtime, template="greeting", count=count)
        record = first.result()
        second = (lose if lossy else shout).submit("shout", runtime, examples=record.output.manifests["examples"])
        return [record, second.result()], [first.hit(record), second.hit(second.result())]


@pytest.fixture
def home(tmp_path):
    ran.clear()
    texts["greeting"] = "hello"
    return tmp_path / "home"


def test_a_second_run_finds_everything_cached(home):
    records, hits = loud(home, 3)
    assert hits == [False, False]
    again, hits = loud(home, 3)
    assert hits == [True, True]
    assert again == records
    assert ran == ["greeting 3", "shout"]


def test_an_argument_redoes_what_depends_on_it(home):
    loud(home, 3)
    _, hits = loud(home, 4)
    assert hits == [False, False]


def test_an_edited_text_redoes_its_step_and_what_follows(home):
    loud(home, 3)
    texts["greeting"] = "good day"
    _, hits = loud(home, 3)
    assert hits == [False, False]


def test_a_step_that_comes_to_the_same_rows_redoes_nothing_after_it(home):
    loud(home, 3)
    texts["greeting"] = "HELLO"
    _, hits = loud(home, 3)
    assert hits == [False, False]
    texts["greeting"] = "hello"
    _, hits = loud(home, 3)
    assert hits == [True, True]


def test_a_hit_whose_shard_is_gone_is_computed_again(home):
    records, _ = loud(home, 3)
    digest = records[1].output.manifests["examples"].shards[0]
    (home / "shards" / "example" / f"{digest}.parquet").unlink()
    _, hits = loud(home, 3)
    assert hits == [True, False]
    assert ran == ["greeting 3", "shout", "shout"]


def test_a_damaged_record_is_dropped_and_computed_again(home):
    records, _ = loud(home, 3)
    path = home / "results" / records[0].key
    path.write_bytes(path.read_bytes()[:40])
    _, hits = loud(home, 3)
    assert hits == [False, True]


def test_a_home_that_was_moved_still_hits(home, tmp_path):
    loud(home, 3)
    shutil.move(home, tmp_path / "moved")
    _, hits = loud(tmp_path / "moved", 3)
    assert hits == [True, True]


def test_a_step_that_loses_a_row_fails_and_leaves_no_result(home):
    with pytest.raises(AccountingError, match="asked for 3 rows and accounts for 2"):
        loud(home, 3, lossy=True)
    assert [path.name.partition("-")[0] for path in (home / "results").iterdir()] == ["greet"]


def test_a_record_is_self_contained_json_with_the_parts_of_its_key(home):
    records, _ = loud(home, 3)
    stored = json.loads(json.loads((home / "results" / records[0].key).read_text())["result"])
    assert stored["key_parts"]["arguments"] == {"template": "greeting", "count": 3}
    assert stored["key_parts"]["ingredients"] == {"template": "hello"}
    assert "runtime" not in stored["key_parts"]["arguments"]
    assert StepRecord.from_json(json.dumps(stored)) == records[0]


def test_what_has_no_canonical_form_is_refused_in_a_key():
    with pytest.raises(TypeError, match="cannot be part of an identity"):
        plain(object())


def test_equal_settings_have_equal_keys_whatever_their_number_type():
    assert plain(Sampling(temperature=1, max_tokens=5)) == plain(Sampling(temperature=1.0, max_tokens=5))
