"""What the store's commands do to the home of a real run: check it, rebuild it, collect from it, and forget a text for good."""

import json
import shutil
import sqlite3
from pathlib import Path

import duckdb
import pytest

from storage.home import Home
from storage.ledger import Ledger
from storage.lineage import Lineage
from tests.storage.small_loop import contents

pytestmark = pytest.mark.slow


@pytest.fixture
def home(small_run, tmp_path) -> Path:
    return shutil.copytree(small_run[0], tmp_path / "home")


def rows_of(home: Path) -> dict[str, list[str]]:
    ledger = Ledger(Home(home))
    try:
        return contents(ledger)
    finally:
        ledger.close()


def one(home: Path, query: str):
    with Lineage.open(Home(home), fresh=True) as lineage:
        return lineage.query(query, limit=None).rows


def test_both_databases_can_be_deleted_and_are_the_same_again_times_included(home, starloop):
    before = rows_of(home)
    assert all(before[table] for table in before.keys() - {"erased", "node", "promotion", "tombstone"})
    for name in ("ledger.duckdb", "ledger.duckdb.wal", "lineage.duckdb"):
        (home / name).unlink(missing_ok=True)
    done = starloop("rebuild", home=home)
    assert done.returncode == 0, done.stderr
    assert rows_of(home) == before
    with duckdb.connect(str(home / "lineage.duckdb"), read_only=True) as connection:
        assert connection.execute("select count(*) from event").fetchall() == [(len(before["event"]),)]


def test_a_sound_store_is_said_to_be_and_damage_is_named_with_what_to_do(home, small_run, starloop):
    sound = starloop("verify-store", "--json", home=home)
    assert sound.returncode == 0, sound.stdout
    assert json.loads(sound.stdout)["checked"]["checkpoints"] == 3
    first, second, third = (one["checkpoint_id"] for one in small_run[1]["iterations"])
    weights = home / "checkpoints" / first / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.unlink()  # MLflow's copy is the same file
    weights.write_bytes(bytes(data))
    (home / "checkpoints" / second / "tokenizer.json").unlink()
    shutil.rmtree(home / "checkpoints" / third)
    shard = next((home / "shards" / "verdict").glob("*.parquet"))
    shard.unlink()
    (home / "results" / "sample-torn").write_text("{")
    found = starloop("verify-store", "--json", home=home)
    assert found.returncode == 1
    faults = "\n".join(json.loads(found.stdout)["faults"])
    for part in (
        f"checkpoint ckp_{first} holds weights with other content than was recorded; remove ",
        f"checkpoint ckp_{second} lacks tokenizer.json",
        f"checkpoint ckp_{third} has no folder; run again what made it",
        f"shard {shard.stem} of verdict is missing; run the same command again",
        f"names shard {shard.stem} of verdict, which is missing",
        f"names checkpoint {third}, which is missing",
        "sample-torn cannot be read; remove it",
    ):
        assert part in faults
    assert starloop("verify-store", home=home).returncode == 1


def test_the_candidate_and_what_it_was_made_from_survive_their_run(home, small_run, starloop):
    run = small_run[1]["run_id"]
    assert json.loads(starloop("gc", "--json", home=home).stdout)["bytes"] == 0
    shown = starloop("gc", "--drop", run[:12], "--json", home=home)
    assert shown.returncode == 0, shown.stderr
    plan = json.loads(shown.stdout)
    assert not plan["removed"]
    candidate = small_run[1]["iterations"][-1]["checkpoint_id"]
    assert any(f"checkpoint {candidate} stays" in why and "candidate" in why for why in plan["kept"])
    assert (home / next(one["path"] for one in plan["going"])).exists()
    done = starloop("gc", "--drop", run[:12], "--yes", home=home)
    assert done.returncode == 0, done.stderr
    assert not any((home / one["path"]).exists() for one in plan["going"])
    assert starloop("verify-store", home=home).returncode == 0
    assert one(home, "select state from run") == [("dropped",)]
    lineage = starloop("lineage", f"ckp_{candidate}", home=home)
    assert f"ckp_{small_run[1]['iterations'][0]['checkpoint_id']}" in lineage.stdout


def test_without_its_alias_a_dropped_run_goes_whole(home, small_run, starloop):
    with sqlite3.connect(home / "mlflow.db") as database:
        database.execute("delete from registered_model_aliases")
    database.close()
    done = starloop("gc", "--drop", small_run[1]["run_id"], "--yes", home=home)
    assert done.returncode == 0, done.stderr
    assert list((home / "shards").glob("*/*.parquet")) == []
    assert list((home / "checkpoints").iterdir()) == []
    left = {path.name.partition("-")[0] for path in (home / "results").iterdir()}
    assert left <= {"trust"}  # how far a verifier can be trusted, which no run made
    assert starloop("verify-store", home=home).returncode == 0


def test_a_forgotten_example_is_nowhere_and_does_not_come_again(home, small_run, starloop):
    example, question, text = one(
        home,
        "select e.example_id, b.question, x.completion from example_evidence e join example x using (example_id) "
        "join problem b using (problem_id) where e.origin = 'sampled' and length(x.completion) >= 10 order by 1 limit 1",
    )[0]
    (home / "logs" / "engine-mine.log").write_text(f"wrote {text}\n")
    before = rows_of(home)
    shown = starloop("forget", f"exm_{example.hex}", "--json", home=home)
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert found["rows"]["example"] == 2, "the corpus has the same answer to the same question, under its hint"
    seen = set(found["checkpoints"] + found["descendants"])
    assert seen == {one["checkpoint_id"] for one in small_run[1]["iterations"]}, "the base's corpus has it too"
    assert found["commands"] == [f"starloop resume run_{small_run[1]['run_id'][:12]}"]
    assert rows_of(home) == before, "showing changes nothing"
    assert starloop("forget", f"exm_{example.hex}", "--yes", home=home).returncode == 2, "a reason is needed"
    done = starloop("forget", f"exm_{example.hex}", "--yes", "--reason", "its writer asked", home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "its text is in no file under the home" in done.stdout
    nowhere(home, text)
    resumed = starloop(*found["commands"][0].split()[1:], home=home)
    assert resumed.returncode == 0, resumed.stderr
    nowhere(home, text)
    assert one(home, f"select count(*) from v_attempt where question = '{question}' and text = '{text}'") == [(0,)]
    assert one(home, f"select count(*) from problem where question = '{question}'") != [(0,)], (
        "the problem itself stays"
    )
    fresh = json.loads(starloop("status", small_run[1]["run_id"], "--json", home=home).stdout)["iterations"]
    assert seen.isdisjoint(one["checkpoint_id"] for one in fresh)
    assert len(fresh) == 3
    live = rows_of(home)
    assert starloop("rebuild", home=home).returncode == 0
    assert rows_of(home) == live
    nowhere(home, text)
    sound = starloop("verify-store", home=home)
    assert sound.returncode == 0, sound.stdout
    gone = starloop("lineage", f"exm_{example.hex}", home=home)
    assert gone.returncode == 2
    assert "was forgotten on" in gone.stderr
    assert "its writer asked" in gone.stderr


def nowhere(home: Path, text: str) -> None:
    """Looked for without the code under test: plain bytes, Parquet through DuckDB, and every text column of both databases."""
    for path in home.rglob("*"):
        if path.is_file() and path.suffix not in (".parquet", ".safetensors"):
            assert text.encode() not in path.read_bytes(), path
    with duckdb.connect() as connection:
        for table in ("problem", "prompt", "attempt", "verdict", "example"):
            files = f"read_parquet('{home}/shards/{table}/*.parquet')"
            count = connection.execute(f"select count(*) from {files} t where contains(t::varchar, ?)", [text])
            assert count.fetchall() == [(0,)], table
        for name in ("ledger", "lineage"):
            connection.execute(f"attach '{home}/{name}.duckdb' as {name} (read_only)")
            query = "select table_name from duckdb_tables() where database_name = ?"
            for (table,) in connection.execute(query, [name]).fetchall():
                count = connection.execute(
                    f"select count(*) from {name}.{table} t where contains(t::varchar, ?)", [text]
                )
                assert count.fetchall() == [(0,)], (name, table)
            connection.execute(f"detach {name}")


def test_a_file_is_imported_through_the_command(home, starloop, tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"q": "What is said?", "answer": "this", "text": "that", "model": "somebody"}\n{"q": 1}\n')
    call = ("import", str(path), "--as", "attempts", "--source", "mine", "--licence", "CC0", "--map", "question=q")
    bad = starloop(*call, home=home)
    assert bad.returncode == 2
    assert f"{path} line 2: it has no 'text'" in bad.stderr
    done = starloop(*call, "--map", "gold=answer", "--skip-bad", "--json", home=home)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)["rows"]
    assert (counts["asked"], counts["ok"]) == (2, 1)
    assert "nothing was added" in starloop(*call, "--map", "gold=answer", "--skip-bad", home=home).stdout
    assert one(home, "select gold, licence from problem where source = 'mine'") == [("this", "CC0")]
    assert starloop("verify-store", home=home).returncode == 0
