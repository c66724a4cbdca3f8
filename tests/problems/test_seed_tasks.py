"""Seed tasks: what is held out stays out, and a row that does not fit is named."""

import json

import pytest

from storage.errors import UserMistake
from tasks.problems.registry import load
from tests.problems.test_public_sets import DATA, needs_data

ROW = {"instruction": "Name three fruits.", "instances": [{"input": "", "output": "fig"}], "is_classification": False}


def written(tmp_path, *rows):
    path = tmp_path / "seeds.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return f"seed_tasks:{path}"


def many(count):
    return [ROW | {"instruction": f"Name fruit number {n}."} for n in range(count)]


def test_our_own_seeds_are_held_out_in_part_and_every_instance_is_in_the_corpus():
    seeds = load("seed_tasks")
    assert [seeds.size(split) for split in ("train", "dev", "test")] == [22, 4, 4]
    texts = [problem.question for split in ("train", "dev", "test") for problem in seeds.take(split, 0, 99)]
    assert len(set(texts)) == 30
    corpus = seeds.corpus(0, 999)
    assert {problem.question for problem in corpus} == {problem.question for problem in seeds.take("train", 0, 99)}
    assert len(corpus) > 22


def test_a_seed_shows_templates_its_input_and_nothing_of_its_answers():
    for problem in load("seed_tasks").take("dev", 0, 9):
        info = json.loads(problem.info)
        assert set(info) == {"input", "is_classification"}
        assert problem.gold


@needs_data
def test_the_papers_seeds_are_all_there(monkeypatch):
    monkeypatch.setenv("STARLOOP_DATA_DIR", str(DATA))
    seeds = load("seed_tasks:self_instruct,dev=5,test=10")
    assert [seeds.size(split) for split in ("train", "dev", "test")] == [160, 5, 10]


def test_another_row_moves_no_seed_between_the_splits_but_one(tmp_path):
    before = load(f"{written(tmp_path, *many(40))},dev=5,test=5").take("test", 0, 9)
    after = load(f"{written(tmp_path, *many(41))},dev=5,test=5").take("test", 0, 9)
    assert len({one.question for one in before} - {one.question for one in after}) <= 1


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (ROW | {"instruction": " "}, r"seeds\.jsonl row 2 has no text under 'instruction'"),
        (ROW | {"instances": []}, "row 2 has no list of instances"),
        (ROW | {"instances": [{"input": "a", "output": " "}]}, "row 2: instance 1 needs a text as input"),
        (ROW | {"instances": ["a"]}, "row 2: instance 1 needs"),
        (ROW | {"is_classification": "no"}, "row 2: is_classification is 'no'; give true or false"),
        (ROW | {"answer": "x"}, "row 2 has a field 'answer'; a seed task has: id, instances, instruction, is_class"),
        (ROW | {"instruction": "name fruit number 0"}, r"row 2 has the instruction of .*row 1 again"),
        ("{", "row 2 is no JSON"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path, row, sentence):
    with pytest.raises(UserMistake, match=sentence):
        load(written(tmp_path, many(1)[0], row, *many(60)[1:]))


def test_too_few_seeds_and_unknown_options_are_said(tmp_path):
    with pytest.raises(
        UserMistake, match="has 10 tasks, and with dev=20 and test=25 held out 0 are left to show; give at least 53"
    ):
        load(written(tmp_path, *many(10)))
    with pytest.raises(UserMistake, match="no option 'tset=3'"):
        load(f"{written(tmp_path, *many(60))},tset=3")


def test_without_a_data_folder_it_is_said_where_the_papers_seeds_come_from(monkeypatch):
    monkeypatch.delenv("STARLOOP_DATA_DIR", raising=False)
    with pytest.raises(UserMistake, match=r"set STARLOOP_DATA_DIR to one.*seed_tasks:FILE\.jsonl"):
        load("seed_tasks:self_instruct")


def test_an_embedded_model_can_read_what_may_be_written_from_the_seeds(tmp_path):
    seeds = load(written(tmp_path, *many(60), ROW | {"instruction": "Say it in Dänish\ntoday."}))
    assert set("ä~ 'Z9") <= set(seeds.alphabet)
    assert seeds.alphabet.count("\n") == 1
    assert seeds.alphabet.endswith("\n")
