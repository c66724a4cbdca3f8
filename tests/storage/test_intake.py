"""A user's own rows in the ledger: whole or not at all, once, and with every row accounted for."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_loop import contents

from storage.errors import UserMistake
from storage.forgetting import find, forget
from storage.home import Home
from storage.imports import Imported, take_in
from storage.intake import Intake
from storage.ledger import Ledger
from storage.lineage import Lineage

ATTEMPTS = [
    {
        "input": "2+2",
        "gold": 4,
        "prompt": "2+2=",
        "text": "4",
        "model": "llama-3-8b",
        "finish_reason": "stop",
        "tokens": 2,
    },
    {"input": "2+2", "gold": 4, "prompt": "2+2=", "text": "5", "model": "llama-3-8b"},
    {"input": "3+3", "gold": 6, "text": "6"},
]
MAP = {"question": "input"}


def jsonl(path: Path, rows: list[object]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def imported(ledger: Ledger, path: Path, kind: str, *, skip_bad: bool = False, **columns: str) -> Imported:
    return take_in(ledger, Intake(path, kind, "mine", "CC-BY-4.0", columns), skip_bad=skip_bad)


def asked(home: Home, query: str) -> list[tuple]:
    with Lineage.open(home, fresh=True) as lineage:
        return lineage.query(query).rows


def test_attempts_stand_with_question_prompt_writer_source_and_licence(home: Home, ledger: Ledger, tmp_path: Path):
    done = imported(ledger, jsonl(tmp_path / "a.jsonl", ATTEMPTS), "attempts", **MAP)
    assert done.taken
    assert (done.taken.asked, done.taken.ok) == (3, 3)
    rows = asked(
        home,
        "select v.question, v.gold, prompt, text, sample_index, v.source, licence, c.source, c.kind from v_attempt v "
        "join problem using (problem_id) join checkpoint c using (checkpoint_id) order by text",
    )
    known = ("mine", "CC-BY-4.0", "llama-3-8b", "external")
    assert rows == [
        ("2+2", "4", "2+2=", "4", 0, *known),
        ("2+2", "4", "2+2=", "5", 1, *known),
        ("3+3", "6", "3+3", "6", 0, "mine", "CC-BY-4.0", "unknown (mine)", "external"),
    ]
    assert ledger.verify() == []
    assert asked(home, "select method, state, name from run") == [("import", "completed", "mine")]
    before = contents(ledger)
    ledger.rebuild()
    assert contents(ledger) == before


def test_the_same_file_again_adds_nothing(home: Home, ledger: Ledger, tmp_path: Path):
    first = imported(ledger, jsonl(tmp_path / "a.jsonl", ATTEMPTS), "attempts", **MAP)
    before = contents(ledger)
    again = imported(ledger, jsonl(tmp_path / "copy.jsonl", ATTEMPTS), "attempts", **MAP)
    assert again.again
    assert again.run_id == first.run_id
    assert contents(ledger) == before


def test_examples_carry_their_evidence(home: Home, ledger: Ledger, tmp_path: Path):
    rows = [{"prompt": "Q: 2+2\nA:", "completion": " 4", "question": "2+2"}, {"prompt": "x", "completion": "y"}]
    table = tmp_path / "e.parquet"
    pq.write_table(pa.Table.from_pylist(rows), table)
    imported(ledger, table, "examples")
    found = asked(
        home,
        "select x.prompt, x.completion, e.origin, b.question, b.source, b.licence from example x "
        "join example_evidence e using (example_id) join problem b using (problem_id) order by 1",
    )
    assert found == [
        ("Q: 2+2\nA:", " 4", "imported", "2+2", "mine", "CC-BY-4.0"),
        ("x", "y", "imported", "x", "mine", "CC-BY-4.0"),
    ]
    assert ledger.verify() == []


def test_problems_keep_their_other_columns(home: Home, ledger: Ledger, tmp_path: Path):
    rows = [
        {"question": "2+2", "gold": "4", "split": "dev", "level": 3},
        {"question": "2+2", "gold": "4", "split": "dev", "level": 3},
    ]
    done = imported(ledger, jsonl(tmp_path / "p.jsonl", rows), "problems")
    assert done.taken
    assert dict(done.taken.rejected) == {"the same row stands in the file before": 1}
    assert asked(home, "select split, info, licence from problem") == [("dev", '{"level":3}', "CC-BY-4.0")]
    assert asked(home, "select asked, ok, rejected, facts->'rejected' from step")[0][:3] == (2, 1, 1)


BAD = {
    "no JSON": ("{", "it is no JSON"),
    "no object": ("[1]", "it is a list, and a row is an object"),
    "no question": ('{"text": "4", "other": 1}', "it has no 'input'; it has: text, other"),
    "empty question": ('{"input": " ", "text": "4"}', "its question is empty"),
    "wrong type": ('{"input": "2+2", "text": ["4"]}', "'text' is a list, and a text was expected"),
    "wrong count": ('{"input": "2+2", "text": "4", "tokens": -1}', "'tokens' is -1, and a count was expected"),
    "half a character": ('{"input": "2+2", "text": "\\ud800"}', "half of a character"),
    "unknown end": ('{"input": "2+2", "text": "4", "finish_reason": "tired"}', "give one of: stop, length"),
    "unknown split": ('{"input": "2+2", "text": "4", "split": "hidden"}', "'hidden' is no split"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named_and_nothing_is_imported(home: Home, tmp_path: Path, case: str):
    text, sentence = BAD[case]
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(ATTEMPTS[0]) + "\n" + text + "\n")
    ledger = Ledger(home)
    with pytest.raises(UserMistake) as mistake:
        imported(ledger, path, "attempts", **MAP)
    ledger.close()
    assert f"{path} line 2: " in str(mistake.value)
    assert sentence in str(mistake.value)
    assert "\n" not in str(mistake.value)
    assert list(home.events.iterdir()) == []
    assert list(home.shards.glob("*/*.parquet")) == []


def test_bad_rows_may_be_left_out_and_are_counted(home: Home, ledger: Ledger, tmp_path: Path):
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join([json.dumps(ATTEMPTS[0]), "{", "[1]", "[2]"]))
    done = imported(ledger, path, "attempts", skip_bad=True, **MAP)
    assert done.taken
    assert done.taken.rejected["it is a list, and a row is an object"] == 2
    assert done.taken.lines["it is a list, and a row is an object"] == 3
    assert asked(home, "select asked, ok, rejected from step") == [(4, 1, 3)]


def test_what_cannot_be_meant_is_said(home: Home, ledger: Ledger, tmp_path: Path):
    with pytest.raises(
        UserMistake, match="no kind of row 'verdicts'; give --as problems, --as attempts, --as examples"
    ):
        Intake(tmp_path / "x", "verdicts", "mine", "")
    with pytest.raises(UserMistake, match="problems have no field 'text'; they have: question, gold"):
        Intake(tmp_path / "x", "problems", "mine", "", {"text": "t"})
    with pytest.raises(UserMistake, match="cannot be read"):
        imported(ledger, tmp_path / "nowhere.jsonl", "problems")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 nothing")
    with pytest.raises(UserMistake, match="cannot be read"):
        imported(ledger, broken, "problems")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserMistake, match="no row that could be taken in"):
        imported(ledger, tmp_path / "empty.jsonl", "problems")


def test_what_was_forgotten_is_not_imported_again(home: Home, ledger: Ledger, tmp_path: Path):
    path = jsonl(tmp_path / "a.jsonl", ATTEMPTS)
    imported(ledger, path, "attempts", **MAP)
    (attempt,) = asked(home, "select attempt_id from attempt where text = '5'")[0]
    with ledger.writer() as connection:
        found = find(connection, "attempt", attempt.hex)
    forget(ledger, found, "asked to", [])
    again = take_in(ledger, Intake(path, "attempts", "elsewhere", "", MAP))
    assert again.taken
    assert dict(again.taken.rejected) == {"it was forgotten": 1}
    assert asked(home, "select count(*) from attempt where text = '5'") == [(0,)]
    assert ledger.verify() == []
