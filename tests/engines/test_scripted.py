import json
from pathlib import Path

import pytest

from storage.errors import UserMistake
from storage.identity import digest
from storage.weights import weights_digest
from tasks.engines.protocol import Request, Sampling
from tasks.engines.registry import open_engine


def script(tmp_path: Path, answers: object) -> str:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(answers))
    return f"scripted:{path}"


def test_it_answers_by_prompt_and_cuts_as_a_model_would(tmp_path: Path):
    engine = open_engine(script(tmp_path, {"a": "one\ntwo", "*": "xxxxxxxx"}))
    requests = [Request(digest("a"), "a"), Request(digest("b"), "b")]
    first, second = engine.generate(requests, Sampling(0, 5, stop=("\n",)))
    assert (first.text, first.finish_reason, first.tokens) == ("one", "stop", 4)
    assert (second.text, second.finish_reason, second.tokens) == ("xxxxx", "length", 5)


def test_of_several_answers_the_request_picks_always_the_same(tmp_path: Path):
    engine = open_engine(script(tmp_path, {"*": ["yes", "no"]}))
    requests = [Request(digest(number), "?") for number in range(60)]
    texts = [response.text for response in engine.generate(requests, Sampling(1, 5))]
    assert texts == [response.text for response in engine.generate(requests, Sampling(1, 5))]
    assert 15 < texts.count("yes") < 45


def test_a_script_can_fail_or_have_no_answer(tmp_path: Path):
    engine = open_engine(script(tmp_path, {"a": {"fail": "out of ink"}}))
    first, second = engine.generate([Request(digest("a"), "a"), Request(digest("b"), "b")], Sampling(0, 5))
    assert first.finish_reason == second.finish_reason == "failed"
    assert "out of ink" in str(first.error)
    assert "no answer for 'b'" in str(second.error)


def test_it_stands_in_for_a_checkpoint(tmp_path: Path, model_folder: Path):
    assert open_engine(script(tmp_path, {}), model_folder).weights_digest == weights_digest(model_folder)


@pytest.mark.parametrize("ref", ["scripted", "scripted:/no/such.json", "scripted:json:no_such_function"])
def test_answers_that_are_not_there_are_a_mistake(ref: str):
    with pytest.raises(UserMistake, match="answers"):
        open_engine(ref)


def test_a_function_answers():
    (response,) = open_engine("scripted:builtins:format").generate([Request(digest("x"), "x")], Sampling(0, 5))
    assert response.finish_reason == "failed"  # format(Request, Sampling) raises: a script's error is data
    assert "TypeError" in str(response.error)
