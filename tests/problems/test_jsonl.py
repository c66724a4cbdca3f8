import json
from pathlib import Path

import pytest

from storage.errors import UserMistake
from tasks.problems.registry import load


def written(tmp_path: Path, *rows: object) -> str:
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return f"jsonl:{path}"


def test_rows_become_problems_under_the_field_map(tmp_path: Path):
    ref = written(
        tmp_path, {"q": "2+2?", "a": 4, "level": "easy", "split": "dev"}, "", {"q": "3+3?", "a": "6", "more": [1]}
    )
    problems = load(f"{ref},question=q,gold=a,stratum=level,verifier=sums,licence=MIT")
    (dev,), (train,) = problems.take("dev", 0, 9), problems.take("train", 0, 9)
    assert (dev.question, dev.gold, dev.stratum, dev.split, dev.licence) == ("2+2?", "4", "easy", "dev", "MIT")
    assert (train.gold, train.info, problems.verifier) == ("6", '{"more":[1]}', "sums")
    assert [problems.size(split) for split in ("train", "dev", "test")] == [1, 1, 0]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("{", "row 2 is no JSON"),
        ([1], "row 2 is a list"),
        ({"query": "x"}, "row 2 has no text under 'question'; it has: query"),
        ({"question": "x", "split": "valid"}, "row 2: 'valid' is no split"),
        ({"question": "x", "gold": {"a": 1}}, "row 2: 'gold' is a dict"),
        ({"question": " FIRST one", "split": "test"}, "row 2: this question is already in train"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path: Path, row: object, says: str):
    with pytest.raises(UserMistake, match=says):
        load(written(tmp_path, {"question": "first  one"}, row))


def test_a_file_without_problems_or_an_unknown_option_is_a_mistake(tmp_path: Path):
    with pytest.raises(UserMistake, match="holds no problems"):
        load(written(tmp_path, ""))
    with pytest.raises(UserMistake, match="cannot be read"):
        load("jsonl:/no/such/file.jsonl")
    with pytest.raises(UserMistake, match="no option 'answer=a'"):
        load("jsonl:x.jsonl,answer=a")
