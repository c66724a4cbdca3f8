"""Anyone's own rows in Parquet files and data sets, under a field map."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.errors import UserMistake
from tasks.problems.registry import load


def parquet(path: Path, *rows: dict[str, object]) -> str:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return f"parquet:{path}"


def test_parquet_rows_become_problems_under_the_field_map(tmp_path: Path):
    ref = parquet(tmp_path / "own.parquet", {"task": {"text": "2+2?"}, "a": 4, "part": "dev", "tests": ["x"]}, {"task": {"text": "3+3?"}, "a": 6, "part": None, "tests": []})  # fmt: skip
    found = load(f"{ref},question=task.text,gold=a,split=part,split_all=test,licence=MIT")
    (dev,), (test,) = found.take("dev", 0, 9), found.take("test", 0, 9)
    assert (dev.question, dev.gold, dev.licence) == ("2+2?", "4", "MIT")
    assert json.loads(dev.info)["tests"] == ["x"]
    assert test.question == "3+3?"


def test_a_parquet_row_that_does_not_fit_is_named(tmp_path: Path):
    ref = parquet(tmp_path / "own.parquet", {"question": "2+2?", "gold": "4"}, {"question": "3+3?", "gold": None})
    assert load(ref).size("train") == 2
    with pytest.raises(UserMistake, match=r"own\.parquet row 2 has no answer under 'gold'; it has: question, gold"):
        load(f"{ref},require_gold=yes")
    with pytest.raises(UserMistake, match=r"row 1 has no text under 'query'; it has: question, gold"):
        load(f"{ref},question=query")
    with pytest.raises(UserMistake, match="parquet has no option 'answer=a'; it has: question, gold"):
        load(f"{ref},answer=a")


def test_a_file_that_is_no_parquet_is_said_to_be_none(tmp_path: Path):
    (tmp_path / "own.parquet").write_text("question,gold\n")
    with pytest.raises(UserMistake, match="cannot be read"):
        load(f"parquet:{tmp_path / 'own.parquet'}")
    with pytest.raises(UserMistake, match="cannot be read"):
        load("parquet:/no/such.parquet")


@pytest.fixture
def data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the `datasets` library loads as it loads a data set of the hub."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mine"
    folder.mkdir()
    for split, count in (("train", 40), ("test", 3)):
        rows = [json.dumps({"q": f"{split} {n}?", "a": str(n)}) for n in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(rows))
    return folder


@pytest.mark.slow
def test_a_data_sets_splits_are_ours_as_the_options_say(data_set: Path):
    found = load(f"hub:{data_set},question=q,gold=a,dev=train,verifier=numeric")
    assert [found.size(split) for split in ("train", "dev", "test")] == [38, 2, 3]
    assert found.take("dev", 0, 2)[1].question == "train 20?"
    assert found.take("dev", 0, 1)[0].info == "{}"
    assert found.verifier == "numeric"


@pytest.mark.slow
def test_a_data_set_that_does_not_fit_is_one_sentence(data_set: Path):
    with pytest.raises(UserMistake, match=r"has no split 'validation' to be our dev; it has: .*train"):
        load(f"hub:{data_set},question=q,dev=validation")
    with pytest.raises(UserMistake, match="test must be a split of its own"):
        load(f"hub:{data_set},question=q,test=train")
    with pytest.raises(
        UserMistake,
        match=r"test row 1 has no text under 'question'; it has: q, a|train row 1 has no text under 'question'; it has: q, a",
    ):
        load(f"hub:{data_set}")
    with pytest.raises(UserMistake, match="cannot be loaded"):
        load("hub:nobody/nothing")
