"""Refs and settings that do not fit each other are found before anything is started; two ways of writing a model are one run."""

import json

import pytest

from flows.refs import check, code_behind, names_checkpoint, run_identity, settled
from flows.resolving import resolve
from storage.errors import UserMistake
from storage.home import Home
from storage.identity import show
from storage.ledger import Ledger
from tests.storage.small_loop import tell


def jsonl(tmp_path, *rows):
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return f"jsonl:{path}"


def split(name, count=1, **fields):
    return [{"question": f"{name} {n}?", "gold": "yes", "split": name, **fields} for n in range(count)]


EVERY = [*split("train", 3, rationale="yes"), *split("dev"), *split("test")]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"engine": "transformers:dtype=int3"}, "no dtype 'int3'; give one of: bfloat16, float16, float32"),
        ({"engine": "transformers:rows=0"}, "rows=0 does not fit"),
        ({"engine": "transformers:speed=9"}, "engine transformers has no option 'speed'"),
        ({"engine": "scripted:/no/such.json"}, "/no/such.json cannot be read as JSON answers"),
        ({"verifier": "math:sqrt"}, "math takes no options"),
        ({"training.step_schedule": "exponential"}, "gives iteration 2 0 steps; exponential multiplies by it"),
        ({"training.step_schedule": "exponential", "training.step_growth": 0.1}, "gives iteration 4 0 steps"),
        ({"training.step_schedule": "exponential", "training.step_growth": 1e9, "iterations": 99}, "steps; exponential"),
        ({"training.betas": [0.9, 1.0]}, "training.betas.1 = 1.0 does not fit"),
        ({"training.learning_rate": float("inf")}, "training.learning_rate = inf does not fit"),
        ({"sampling.stop": [""]}, "sampling.stop.0 = '' does not fit"),
        ({"model.heads": 5}, "model.hidden = 96 does not split into model.heads = 5 of even width"),
        ({"model_name": "org/model"}, "model_name = 'org/model' does not fit"),
    ],
)  # fmt: skip
def test_settings_that_would_fail_after_minutes_are_refused_at_once(settings, sentence):
    with pytest.raises(UserMistake) as refused:
        check(resolve("star", None, settings))
    assert sentence in str(refused.value)


def test_presets_fit():
    check(resolve("star", "addition-quick", {}))


def test_a_set_without_held_out_problems_is_refused(tmp_path):
    ref = jsonl(tmp_path, *split("train", rationale="yes"), *split("test"))
    with pytest.raises(UserMistake, match="has no dev problems; a loop needs some in each split"):
        check(resolve("star", None, {"problems": ref, "fresh_problems": False}))


def test_a_set_that_runs_out_of_fresh_problems_is_refused(tmp_path):
    settings = {"problems": jsonl(tmp_path, *EVERY), "problems_per_iteration": 2, "iterations": 3}
    with pytest.raises(UserMistake, match="has 3 train problems, too few for 3 iterations of 2 fresh ones"):
        check(resolve("star", None, settings))
    check(resolve("star", None, settings | {"iterations": 2}))
    check(resolve("star", None, settings | {"fresh_problems": False}))


def test_a_set_without_worked_examples_needs_another_model_than_the_embedded_one(tmp_path):
    ref = jsonl(tmp_path, *split("train"), *split("dev"), *split("test"))
    settings = {"problems": ref, "fresh_problems": False}
    with pytest.raises(
        UserMistake, match=r"the embedded model is pre-trained on worked examples, and jsonl:.* has none"
    ):
        check(resolve("star", None, settings))
    check(resolve("star", None, settings | {"model.source": "./somewhere"}))
    with pytest.raises(UserMistake, match="pre-trained on worked examples"):
        check(resolve("star", None, settings | {"model.source": "./somewhere", "train_on": "corpus"}))


def test_two_beginnings_of_a_checkpoints_id_are_one_run(tmp_path):
    home = Home.open(tmp_path / "home")
    ledger = Ledger(home)
    checkpoint = tell(home, ledger).ids["base"]
    ledger.close()
    runs = set()
    for source in (f"ckp_{checkpoint[:6]}", checkpoint[:9], show("ckp", checkpoint)):
        config = settled(resolve("star", None, {"model.source": source}), home)
        assert config.model.source == show("ckp", checkpoint)
        runs.add(run_identity("star", config, code_behind(config)))
    assert len(runs) == 1
    with pytest.raises(UserMistake, match="no checkpoint 'ckp_ffff'"):
        settled(resolve("star", None, {"model.source": "ckp_ffff"}), home)


def test_a_folder_is_named_in_full_and_a_hub_name_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / "home")
    assert settled(resolve("star", None, {"model.source": "model"}), home).model.source == str(tmp_path / "model")
    assert settled(resolve("star", None, {"model.source": "org/name"}), home).model.source == "org/name"
    assert not names_checkpoint("org/name")
    assert not names_checkpoint("gpt2")
    assert names_checkpoint("82ab")
