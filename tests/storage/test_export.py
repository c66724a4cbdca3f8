"""Exports of the small loop: the same rows in every format, events the client accepts, provenance that reads back."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_loop import Story

from storage.errors import UserMistake
from storage.export.lineage_events import events, export_openlineage
from storage.export.provenance import export_prov, provenance
from storage.export.training_set import SCHEMA, export_training_set
from storage.lineage import Lineage

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lineage(told: Story):
    with Lineage.open(told.home) as lineage:
        yield lineage


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_format_holds_the_same_rows_in_training_order(told: Story, lineage: Lineage, tmp_path: Path):
    mix = told.ids["model 1 mix"]
    for name in ("out.jsonl", "out.parquet", "folder"):
        done = export_training_set(lineage, mix, tmp_path / name)
        assert (done.mixes, done.rows) == ((mix,), 3)
    rows = lines(tmp_path / "out.jsonl")
    assert [row["position"] for row in rows] == [0, 1, 2]
    assert [row["origin"] for row in rows] == ["sampled", "rationalized", "original"]
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == rows
    from datasets import load_from_disk

    loaded = load_from_disk(str(tmp_path / "folder"))
    assert list(loaded) == rows
    assert {path.suffix for path in (tmp_path / "folder").iterdir()} == {".arrow", ".json"}
    assert sum(path.suffix == ".arrow" for path in (tmp_path / "folder").iterdir()) == 1


def test_rows_say_where_they_came_from(told: Story, lineage: Lineage, tmp_path: Path):
    export_training_set(lineage, told.ids["model 1 mix"], tmp_path / "out.jsonl")
    sampled, mended, original = lines(tmp_path / "out.jsonl")
    assert list(sampled) == SCHEMA.names
    assert sampled["example_id"] == told.ids["direct"]
    assert sampled["attempt_id"] == told.ids["right 1"]
    assert (sampled["verdict"], sampled["iteration"], sampled["written_by"]) == ("passed", 1, told.ids["base"])
    assert (sampled["source"], sampled["licence"], sampled["hinted"]) == ("addition", "CC0", False)
    assert sampled["verifier"].startswith("sums@")
    assert mended["hinted"]
    assert (original["attempt_id"], original["verdict"], original["verifier"]) == (None, None, None)
    assert {row["mix_iteration"] for row in (sampled, mended, original)} == {1}


def test_a_checkpoint_stands_for_its_training_set_and_a_run_for_all_of_its_own(
    told: Story, lineage: Lineage, tmp_path: Path
):
    one = export_training_set(lineage, told.ids["model 2"], tmp_path / "one.parquet")
    assert one.mixes == (told.ids["model 2 mix"],)
    whole = export_training_set(lineage, told.run_id, tmp_path / "whole.parquet")
    assert whole.mixes == (told.ids["model 1 mix"], told.ids["model 2 mix"])
    assert whole.rows == 5


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet", "folder"])
def test_what_is_there_is_replaced_only_when_asked_and_stays_whole_when_it_fails(
    told: Story, lineage: Lineage, tmp_path: Path, name: str
):
    mix = told.ids["model 1 mix"]
    export_training_set(lineage, mix, tmp_path / name)
    with pytest.raises(UserMistake, match="--force"):
        export_training_set(lineage, mix, tmp_path / name)
    done = export_training_set(lineage, told.ids["model 2 mix"], tmp_path / name, force=True)
    assert done.rows == 2
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_force_replaces_no_folder_that_datasets_did_not_save(told: Story, lineage: Lineage, tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserMistake, match="not replaced"):
        export_training_set(lineage, told.ids["model 1 mix"], tmp_path / "mine", force=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_a_wrong_ending_folder_or_id_is_a_sentence(told: Story, lineage: Lineage, tmp_path: Path):
    with pytest.raises(UserMistake, match=r"no format for '\.csv'"):
        export_training_set(lineage, told.ids["model 1 mix"], tmp_path / "out.csv")
    with pytest.raises(UserMistake, match="there is no folder"):
        export_training_set(lineage, told.ids["model 1 mix"], tmp_path / "nowhere" / "out.jsonl")
    with pytest.raises(UserMistake, match="no mix"):
        export_training_set(lineage, "mix_" + "0" * 32, tmp_path / "out.jsonl")
    with pytest.raises(UserMistake, match="ends in"):
        export_prov(lineage, told.run_id, tmp_path / "out.xml")
    assert list(tmp_path.iterdir()) == []


def test_a_runs_events_start_and_complete_every_step_below_it(told: Story, lineage: Lineage, tmp_path: Path):
    count = export_openlineage(lineage, told.run_id, tmp_path / "events.jsonl")
    told_events = lines(tmp_path / "events.jsonl")
    steps = lineage.steps(told.run_id)
    assert count == len(told_events) == 2 + 2 * len(steps)
    run_id = told_events[0]["run"]["runId"]
    assert (told_events[0]["eventType"], told_events[-1]["eventType"]) == ("START", "COMPLETE")
    assert told_events[-1]["run"]["runId"] == run_id
    inner = told_events[1:-1]
    assert {event["run"]["facets"]["parent"]["run"]["runId"] for event in inner} == {run_id}
    states: dict[str, list[str]] = {}
    for event in inner:
        states.setdefault(event["run"]["runId"], []).append(event["eventType"])
    assert set(map(tuple, states.values())) == {("START", "COMPLETE")}
    sample = next(e for e in inner if e["job"]["name"] == "star.sample" and e["eventType"] == "COMPLETE")
    assert sample["run"]["facets"]["starloop_step"]["failed"] == 1
    attempts = next(one for one in sample["outputs"] if one["name"].startswith("shard/attempt/"))
    assert attempts["outputFacets"]["outputStatistics"]["rowCount"] == 4
    assert "text" in {field["name"] for field in attempts["facets"]["schema"]["fields"]}


def test_a_run_that_failed_ends_with_its_reason(home, ledger):
    run_id = ledger.start_run("broken", "star", None, {})
    ledger.finish_run(run_id, "failed", {"why": "the engine died"})
    ledger.publish(force=True)
    with Lineage.open(home) as lineage:
        start, end = events(lineage, run_id)
    assert (start.eventType.value, end.eventType.value) == ("START", "FAIL")
    assert end.run.facets["errorMessage"].message == "the engine died"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # prov's RDF serializer and rdflib
@pytest.mark.parametrize("name", ["out.json", "out.provn", "out.ttl"])
def test_provenance_reads_back_as_what_was_written(told: Story, lineage: Lineage, tmp_path: Path, name: str):
    from prov.model import ProvDocument

    assert export_prov(lineage, told.run_id, tmp_path / name) > 20
    text = (tmp_path / name).read_text()
    kind = {"json": "json", "provn": "provn", "ttl": "rdf"}[name.partition(".")[2]]
    read = ProvDocument.deserialize(content=text, format=kind, **({"rdf_format": "turtle"} if kind == "rdf" else {}))
    wrote = provenance(lineage, told.run_id)
    assert sorted(str(one.get_type()) for one in read.get_records()) == sorted(
        str(one.get_type()) for one in wrote.get_records()
    )


def test_a_checkpoints_provenance_goes_back_to_the_base(told: Story, lineage: Lineage):
    from prov.model import ProvDerivation, ProvGeneration

    document = provenance(lineage, told.ids["model 2"])
    derived = {(str(one.args[0]), str(one.args[1])) for one in document.get_records(ProvDerivation)}
    assert (f"starloop:checkpoint/{told.ids['model 2']}", f"starloop:checkpoint/{told.ids['model 1']}") in derived
    assert (f"starloop:checkpoint/{told.ids['model 2']}", f"starloop:mix/{told.ids['model 2 mix']}") in derived
    generated = [str(one.args[0]) for one in document.get_records(ProvGeneration)]
    assert len(generated) == len(set(generated))


def test_a_missing_package_is_named_with_its_command(told: Story, tmp_path: Path):
    script = (
        "import sys\nfrom importlib.abc import MetaPathFinder\n"
        "class Without(MetaPathFinder):\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'openlineage': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Without())\n"
        "from flows.cli.main import call\nsys.exit(call())"
    )
    command = ["export", "openlineage", told.run_id, "--to", str(tmp_path / "x.jsonl"), "--home", str(told.home.root)]
    done = subprocess.run(
        [sys.executable, "-c", script, *command], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 2
    assert "pip install 'openlineage-python'" in done.stderr
    assert not list(tmp_path.iterdir())
