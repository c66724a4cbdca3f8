"""Which method fits a task, and whether a model is in its zone: plain functions and their reasons."""

import json

import pytest

from flows.advice import SIZES, Situation, recommend
from flows.cli.main import call
from flows.methods import LOOPS
from flows.refs import refs_of
from flows.resolving import presets, resolve
from flows.zone import Tally, judge
from storage.errors import UserMistake


@pytest.mark.parametrize(
    ("situation", "method"),
    [
        (Situation(gold=True), "star"),
        (Situation(gold=True, accuracy=0.4, hours=24), "rest_em"),
        (Situation(gold=True, accuracy=0.1, hours=24), "star"),
        (Situation(gold=True, all_fail=True), "gsr"),
        (Situation(gold=True, traces=True), "rest_mcts"),
        (Situation(gold=False), "self_instruct"),
        (Situation(gold=False, constraints=True), "care_star"),
        (Situation(gold=True, modality="video"), "video_star"),
        (Situation(gold=False, modality="image"), "video_star"),
    ],
)
def test_the_task_decides_the_method(situation: Situation, method: str):
    found = recommend(situation)
    assert found.method == method
    assert found.reasons[0].endswith((".", ")."))
    assert found.here == (method in LOOPS)
    assert found.here or any("This checkout has no" in reason for reason in found.reasons)


@pytest.mark.parametrize(("memory", "billions"), [(4.0, None), (4.4, 0.5), (8, 3), (16, 14), (9, 7), (80, 14)])
def test_memory_decides_the_size(memory: float, billions: float | None):
    found = recommend(Situation(gold=True, memory_gb=memory))
    expected = next((size.example for size in SIZES if size.billions == billions), None)
    assert found.model == expected
    if billions is None:
        assert any("too few to train" in reason for reason in found.reasons)


def test_a_model_below_its_zone_is_to_be_a_larger_one():
    found = recommend(Situation(gold=True, accuracy=0.1, billions=1.5, memory_gb=24))
    assert any("below the zone" in reason and "Qwen2.5-3B" in reason for reason in found.reasons)
    assert found.model == "Qwen/Qwen2.5-3B-Instruct"
    assert recommend(Situation(gold=True, accuracy=0.5, billions=3, memory_gb=24)).model == "Qwen/Qwen2.5-3B-Instruct"
    assert recommend(Situation(gold=True, accuracy=0.9, billions=3, memory_gb=24)).model == "Qwen/Qwen2.5-1.5B-Instruct"
    assert any("little to gain" in reason for reason in recommend(Situation(gold=True, accuracy=0.9)).reasons)
    assert any("Measure the base first" in reason for reason in recommend(Situation(gold=True)).reasons)


def test_a_preset_for_the_model_is_named_where_there_is_one():
    assert recommend(Situation(gold=True, memory_gb=8)).preset in {"tutorial-arc", "tutorial-gsm8k"}
    assert recommend(Situation(gold=True, memory_gb=4.5)).preset is None


@pytest.mark.parametrize(
    "wrong", [Situation(True, accuracy=35), Situation(True, memory_gb=0), Situation(True, modality="audio")]
)  # type: ignore[arg-type]
def test_what_cannot_be_is_a_mistake(wrong: Situation):
    with pytest.raises(UserMistake):
        recommend(wrong)


def test_the_command_takes_flags_and_says_it_in_json(capsys: pytest.CaptureFixture[str]):
    assert call(["recommend", "--gold", "--accuracy", "0.4", "--memory-gb", "8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "star"
    assert call(["recommend", "--gold", "--memory-gb", "8"]) == 0
    said = capsys.readouterr().out
    assert "starloop plan star --preset tutorial-" in said
    assert call(["recommend"]) == 2
    assert "--gold or --no-gold" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("right", "wrong", "verdict", "sure"),
    [
        (20, 180, "below", True),
        (44, 156, "below", False),
        (60, 140, "in", False),
        (90, 110, "in", True),
        (145, 55, "in", False),
        (180, 20, "above", True),
        (0, 0, "unknown", False),
        (1, 1, "in", False),
    ],
)
def test_the_interval_says_whether_the_verdict_is_sure(right: int, wrong: int, verdict: str, sure: bool):
    zone = judge(Tally(right, wrong))
    assert (zone.verdict, zone.sure) == (verdict, sure)
    assert zone.stops is (sure and verdict in {"below", "above"})
    assert zone.advice


def test_samples_or_a_hint_that_help_keep_a_loop_from_stopping():
    hopeless = judge(Tally(10, 190, solved_in_8=20, tried_8=200, rationalized=10, failed=190))
    assert hopeless.stops
    assert any("more samples alone will not do" in one for one in hopeless.advice)
    for helped in (Tally(10, 190, solved_in_8=60, tried_8=200), Tally(10, 190, rationalized=60, failed=190)):
        assert not judge(helped).stops
    assert judge(Tally(10, 190, solved_in_8=60, tried_8=200)).pass_at_8 == 0.3
    assert judge(Tally(190, 10, solved_in_8=199, tried_8=200)).stops


def test_many_undecided_verdicts_are_said_first():
    assert "look at the verifier first" in judge(Tally(90, 110, undecided=50)).advice[0]
    assert "In the zone" in judge(Tally(90, 110, undecided=5)).advice[0]


def test_counts_that_cannot_be_are_a_mistake():
    with pytest.raises(UserMistake, match="cannot be"):
        judge(Tally(1, -1))
    with pytest.raises(UserMistake, match="cannot be"):
        judge(Tally(1, 1, solved_in_8=3, tried_8=2))


@pytest.mark.parametrize("name", ["tutorial-gsm8k", "tutorial-arc", "gsm8k-7b", "commonsense-7b"])
def test_a_preset_for_a_public_set_fits_that_set(name: str):
    config = resolve("star", name, {})
    refs = refs_of(config)
    assert refs.template in {"gsm8k", "arc", "commonsense_qa"}
    assert refs.verifier in {"numeric", "choice"}
    assert config.model.source.startswith("Qwen/Qwen2.5-")
    assert config.sampling.stop == ("\nQuestion:",)
    assert config.sampling.max_tokens == config.evaluation.max_tokens
    assert "GPU" in presets()[name]["about"]
