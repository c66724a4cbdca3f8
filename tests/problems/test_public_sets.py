"""The public sets, read by their own loaders from the folder of unchanged public data: STARLOOP_DATA_DIR, or `shared/data` beside this checkout."""

import json
import os
from pathlib import Path

import pytest

from storage.errors import UserMistake
from storage.records import Problem
from tasks.ingredients import problems_code
from tasks.problems.listed import key_of
from tasks.problems.math500 import boxed
from tasks.problems.protocol import SPLITS
from tasks.problems.registry import load
from tasks.prompts.render import completion, render

DATA = Path(os.environ.get("STARLOOP_DATA_DIR") or Path(__file__).resolve().parents[2].parent / "shared" / "data")
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the public data sets are not in {DATA}; set STARLOOP_DATA_DIR to a folder that has them"
)
SIZES = {
    "gsm8k": (7000, 473, 1319),
    "arc:challenge": (1113, 297, 1172),
    "commonsense_qa": (9000, 741, 1221),
    "math500": (0, 0, 500),
}
"""Train, dev and test. Of ARC's 1,119 and 299 rows, 6 and 2 ask what test or dev asks, and are left out."""


@pytest.fixture(autouse=True)
def _data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARLOOP_DATA_DIR", str(DATA))


@pytest.fixture(scope="module")
def every() -> dict[str, dict[str, list[Problem]]]:
    os.environ["STARLOOP_DATA_DIR"] = str(DATA)
    sets = {ref: load(ref) for ref in SIZES}
    return {ref: {split: one.take(split, 0, 20_000) for split in SPLITS} for ref, one in sets.items()}


@needs_data
def test_every_row_is_a_problem_with_an_answer(every):
    assert {ref: tuple(len(one[split]) for split in SPLITS) for ref, one in every.items()} == SIZES
    for one in every.values():
        for split in SPLITS:
            assert all(problem.gold and problem.split == split and problem.licence for problem in one[split])


@needs_data
def test_no_question_stands_in_two_splits(every):
    for one in every.values():
        train, dev, test = ({key_of(problem.question) for problem in one[split]} for split in SPLITS)
        assert not train & dev
        assert not train & test
        assert not dev & test


@needs_data
def test_what_is_held_out_shows_no_solution(every):
    for one in every.values():
        assert not any(problem.rationale for split in ("dev", "test") for problem in one[split])


@needs_data
def test_a_gsm8k_row_is_cleaned_of_its_calculators_marks(every):
    first = every["gsm8k"]["train"][0]
    assert first.gold == "72"
    assert first.rationale is not None
    assert first.rationale.splitlines()[0] == "Natalia sold 48/2 = 24 clips in May."
    assert first.stratum == "2 steps"
    assert not any(
        "<<" in (problem.rationale or "") or "####" in (problem.rationale or "") for problem in every["gsm8k"]["train"]
    )
    assert not any("," in (problem.gold or "") for problem in every["gsm8k"]["test"])


@needs_data
def test_choices_are_lettered_and_the_key_is_one_of_them(every):
    counts = set()
    for ref in ("arc:challenge", "commonsense_qa"):
        for problem in [one for split in SPLITS for one in every[ref][split]]:
            choices = json.loads(problem.info)["choices"]
            assert list(choices) == list("ABCDEFG"[: len(choices)])
            assert problem.gold in choices
            counts.add((ref, len(choices)))
    assert counts == {("arc:challenge", 3), ("arc:challenge", 4), ("arc:challenge", 5), ("commonsense_qa", 5)}


@needs_data
@pytest.mark.parametrize("ref", ["gsm8k", "arc:challenge", "commonsense_qa", "math500"])
def test_a_prompt_begins_with_the_same_examples_and_shows_no_answer_of_its_own(every, ref: str):
    problems = [problem for split in SPLITS for problem in every[ref][split][:60]]
    template = load(ref).template
    prompts = [render(template, problem).text for problem in problems]
    shared = common_beginning(prompts)
    assert shared.count("Answer:") >= 4
    for problem, prompt in zip(problems, prompts, strict=True):
        own = prompt.removeprefix(shared)
        assert problem.question[-30:] in own
        assert "(CORRECT)" not in own
        assert "Answer:" not in own
        assert problem.question[:40] not in shared
        other = Problem.of(problem.source, problem.split, problem.question, "Z", info=json.loads(problem.info))
        assert render(template, other).text == prompt


@needs_data
@pytest.mark.parametrize("ref", ["gsm8k", "arc:challenge", "commonsense_qa", "math500"])
def test_a_hinted_prompt_shows_the_answer_where_the_task_has_it(every, ref: str):
    problem = every[ref]["test"][0]
    template = load(ref).template
    hinted = render(template, problem, hinted=True).text.rpartition("Question:" if ref != "math500" else "Problem:")[2]
    if "choices" in json.loads(problem.info):
        right = json.loads(problem.info)["choices"][problem.gold]
        assert [line for line in hinted.splitlines() if "(CORRECT)" in line] == [f"({problem.gold}) {right} (CORRECT)"]
    else:
        assert f"(The answer is {'$' if ref == 'math500' else ''}{problem.gold}" in hinted
    assert (problem.gold or "") in completion(template, problem, rationale=False)


@needs_data
def test_a_changed_file_is_another_problem_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "gsm8k").mkdir()
    for split in ("train", "test"):
        rows = (DATA / "gsm8k" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()[:500]
        (tmp_path / "gsm8k" / f"{split}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    monkeypatch.setenv("STARLOOP_DATA_DIR", str(tmp_path))
    before = problems_code("gsm8k")
    assert before == problems_code("gsm8k")
    with (tmp_path / "gsm8k" / "train.jsonl").open("a") as file:
        file.write("\n" + rows[0])
    assert problems_code("gsm8k") != before


def common_beginning(texts: list[str]) -> str:
    length = next((place for place, letters in enumerate(zip(*texts, strict=False)) if len(set(letters)) > 1), 0)
    return texts[0][:length]


def rows_in(folder: Path, place: str, *rows: object) -> None:
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


@pytest.mark.parametrize(
    ("ref", "place", "row", "says"),
    [
        ("gsm8k", "gsm8k/test.jsonl", {"question": "2+2?", "answer": "It is 4."}, "row 2 has no answer: its solution must end"),
        ("gsm8k", "gsm8k/test.jsonl", {"query": "2+2?", "answer": "#### 4"}, "row 2 has no text under 'question'; it has: query, answer"),
        ("gsm8k", "gsm8k/test.jsonl", {"question": "2+2?"}, "row 2 has no text under 'answer'"),
        ("arc", "arc_challenge/test.jsonl", {"question": "q", "choices": {"label": ["A", "B"], "text": ["x", "y"]}, "answerKey": "C"}, "row 2 has no answer: its key 'C'"),
        ("arc", "arc_challenge/test.jsonl", {"question": "q", "choices": {"label": ["A"], "text": ["x"]}, "answerKey": "A"}, "row 2 has no two options"),
        ("commonsense_qa", "commonsense_qa/validation.jsonl", {"question": {"stem": "q", "choices": []}, "answerKey": ""}, "row 2 has no two options"),
        ("math500", "math500/test.jsonl", {"problem": "q", "solution": "It is 4."}, "row 2 has no answer: give it under 'answer'"),
    ],
)  # fmt: skip
def test_a_row_that_does_not_fit_is_named_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ref, place, row, says
):
    good = {
        "gsm8k": {"question": "1+1?", "answer": "#### 2"},
        "arc": {"question": "g", "choices": {"label": ["1", "2"], "text": ["x", "y"]}, "answerKey": "2"},
        "commonsense_qa": {"question": "g", "choices": {"label": ["A", "B"], "text": ["x", "y"]}, "answerKey": "A"},
        "math500": {"problem": "g", "solution": r"Thus \boxed{4}."},
    }[ref]
    rows_in(tmp_path, place, good, row)
    monkeypatch.setenv("STARLOOP_DATA_DIR", str(tmp_path))
    with pytest.raises(UserMistake) as mistake:
        load(ref).take("test", 0, 9)
    assert says in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_a_numbered_key_becomes_a_letter(tmp_path: Path):
    rows_in(
        tmp_path,
        "arc_easy/test.jsonl",
        {"question": "g", "choices": {"label": ["1", "2"], "text": ["x", "y"]}, "answerKey": "2"},
    )
    (problem,) = load(f"arc:easy,data={tmp_path}").take("test", 0, 9)
    assert (problem.gold, problem.info, problem.source) == ("B", '{"choices":{"A":"x","B":"y"}}', "arc:easy")


def test_the_train_part_of_math_takes_its_answers_out_of_their_boxes(tmp_path: Path):
    rows_in(tmp_path, "math500/test.jsonl", {"problem": "asked 3", "answer": "3", "level": 4})
    rows_in(tmp_path, "math/train.jsonl", *({"problem": f"asked {n}", "solution": rf"So $\boxed{{\frac{{{n}}}{{2}}}}$.", "level": "Level 2"} for n in range(31)))  # fmt: skip
    found = load(f"math500:train,data={tmp_path}")
    assert [found.size(split) for split in SPLITS] == [27, 3, 1]
    assert found.take("dev", 1, 1)[0].gold == r"\frac{15}{2}"
    assert found.take("test", 0, 1)[0].stratum == "level 4"
    assert all(problem.question != "asked 3" for problem in found.take("train", 0, 99))


def test_the_last_box_is_the_answer_with_its_braces_matched():
    assert boxed(r"First \boxed{1}, then \boxed{\frac{1}{\sqrt{2}}}.") == r"\frac{1}{\sqrt{2}}"
    assert boxed(r"\boxed{\frac{1}{2}") is None
    assert boxed("nothing") is None


def test_what_is_not_there_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UserMistake, match="the data folder /no/such is not there"):
        load("gsm8k:data=/no/such").take("test", 0, 1)
    with pytest.raises(
        UserMistake, match=r"has no gsm8k/test\.jsonl \(or \.parquet\); add it, or unset STARLOOP_DATA_DIR"
    ):
        load(f"gsm8k:data={tmp_path}").take("test", 0, 1)
    with pytest.raises(UserMistake, match="arc has no part 'hard'; it has: challenge, easy"):
        load("arc:hard")
    with pytest.raises(UserMistake, match="gsm8k has no option 'folder=x'; it has: data, revision"):
        load("gsm8k:folder=x")
    with pytest.raises(
        UserMistake,
        match="no problem set 'gsm'; this checkout has: addition, arc, commonsense_qa, constrained, gsm8k, hub",
    ):
        load("gsm")


@pytest.mark.slow
def test_without_a_folder_the_hub_is_asked_and_its_silence_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("STARLOOP_DATA_DIR")
    with pytest.raises(UserMistake) as mistake:
        load("gsm8k").take("test", 0, 1)
    assert str(mistake.value).startswith("the split test of data set 'openai/gsm8k' cannot be loaded: ")
    assert "STARLOOP_DATA_DIR" in str(mistake.value)
