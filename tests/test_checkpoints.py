"""Checkpoint folders: whole or not there."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from storage.checkpoints import file_digests
from storage.errors import StorageFault
from storage.home import Home
from storage.manifest import Accounting, Output
from tasks.caching import RecordStorage, StepRecord
from tasks.checkpoints import is_whole, keep, missing, names_in


def checkpoint(folder: Path, config: str = "{}") -> Path:
    """A folder with a config and one tensor of two bytes."""
    folder.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"ab")
    (folder / "config.json").write_text(config)
    return folder


def break_weights(place: Path) -> None:
    data = (place / "model.safetensors").read_bytes()
    (place / "model.safetensors").write_bytes(data[:-1] + b"x")


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: (place / "config.json").write_text('{"other": 1}'),
        lambda place: (place / "config.json").unlink(),
        lambda place: (place / "model.safetensors").unlink(),
        lambda place: (place / "model.safetensors").write_bytes(b"short"),
        break_weights,
    ],
)
def test_a_checkpoint_that_is_not_what_it_says_is_replaced(damage, tmp_path):
    files = file_digests(checkpoint(tmp_path / "first"))
    place = tmp_path / "checkpoints" / "c"
    keep(tmp_path / "first", place, files)
    assert is_whole(place, files)
    damage(place)
    assert not is_whole(place, files)
    keep(checkpoint(tmp_path / "second"), place, files)
    assert is_whole(place, files)


def test_the_same_content_twice_is_one_folder(tmp_path):
    files = file_digests(checkpoint(tmp_path / "first"))
    place = tmp_path / "checkpoints" / "c"
    keep(tmp_path / "first", place, files)
    before = (place / "config.json").stat().st_ino
    keep(checkpoint(tmp_path / "second"), place, files)
    assert (place / "config.json").stat().st_ino == before


def test_what_is_gone_is_named(tmp_path):
    place = checkpoint(tmp_path / "c")
    names = names_in(place)
    assert names == ["config.json", "model.safetensors"]
    assert missing(place, names) == []
    (place / "config.json").unlink()
    assert missing(place, names) == ["config.json"]
    assert missing(tmp_path / "nowhere", []) == ["the folder"]


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors", None])
def test_a_record_whose_checkpoint_lost_a_file_is_dropped(lost, tmp_path, caplog):
    home = Home.open(tmp_path / "home")
    place = checkpoint(home.checkpoints / ("c" * 32))
    facts = {"checkpoint_id": place.name, "files": names_in(place)}
    record = StepRecord(Output({}, Accounting(1, ok=1), facts), "finetune", "finetune-1", {}, "", 0.0, 0.0)
    path = home.results / record.key
    path.write_text(json.dumps({"result": record.to_json()}))
    storage = RecordStorage(root=str(home.root))
    assert storage.read_record(record.key) == replace(record)
    for name in [lost] if lost else names_in(place):
        (place / name).unlink()
    with pytest.raises(StorageFault, match=f"{lost or 'config.json'} of its checkpoint ckp_cccc"):
        storage.read_record(record.key)
    assert not path.exists()
