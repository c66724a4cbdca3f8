"""Real preference trainings through TRL, of a model with 20,000 parameters: right sums against wrong ones."""

import json
from dataclasses import replace
from math import log
from pathlib import Path

import pytest

from storage.errors import TrainingFault
from storage.records import Example
from tasks.training.recipe import Recipe
from tests.training.conftest import sums, write_examples, write_pairs
from tests.training.test_sft import Killed, outcome

pytestmark = pytest.mark.slow

DPO = Recipe(
    steps=24, batch_size=8, learning_rate=2e-3, warmup_steps=0, schedule="constant", max_length=64, objective="dpo"
)
BOTH = replace(DPO, objective="dpo_nll")


def wrong(example: Example) -> Example:
    """The same ending in 9: a slip that so small a model can learn to avoid."""
    return Example.of(example.prompt, example.completion[:-1] + "9")


PAIRS = [(one, wrong(one)) for one in {one.example_id: one for one in sums(100)}.values() if one.completion[-1] != "9"]


@pytest.fixture(scope="module")
def preferring(spec, trained, tmp_path_factory):
    """A spec that trains the session's small model on the pairs."""

    def make(recipe: Recipe, **changes):
        folder = tmp_path_factory.mktemp("pairs")
        examples = write_examples(folder / "examples.parquet", [side for pair in PAIRS for side in pair])
        members = write_pairs(folder / "members.parquet", PAIRS)
        plain = spec(recipe=recipe, base=trained[0].out, architecture=None)
        return replace(plain, examples=(examples,), members=(members,), **changes)

    return make


@pytest.fixture(scope="module")
def preferred(preferring, train):
    asked = preferring(BOTH)
    return asked, train(asked)


def test_the_right_answers_gain_likelihood_over_the_wrong_ones(preferred):
    _, result = preferred
    told = result["preference"]
    assert told["pairs"] == len(PAIRS)
    assert abs(told["margin_before"]) < 0.5
    assert told["margin_after"] > told["margin_before"] + 1
    assert told["accuracy_after"] > 0.8 > told["accuracy_before"]
    assert told["chosen_after"] > told["chosen_before"]
    assert (result["rows"], result["rows_seen"]) == (2 * len(PAIRS), 2 * 24 * 8)
    # 10 characters of prompt, 6 of completion, EOS, twice a pair
    assert (result["tokens_seen"], result["tokens_trained"]) == (24 * 8 * 34, 24 * 8 * 14)


def test_the_losses_are_those_of_an_unchanged_trainer(preferred, processes):
    asked, result = preferred
    path = Path(asked.out).parent / "spec.json"
    plain = processes.call("tests.training.probes:plain_preference_losses", str(path), threads=1)
    assert plain["losses"] == pytest.approx(result["losses"], abs=2e-3)


def test_before_the_first_step_nothing_is_preferred_to_what_the_reference_prefers(preferring, train, preferred):
    """At the reference itself the loss is log 2; with the likelihood of the chosen side added, it is more."""
    alone = train(preferring(replace(DPO, steps=1)))
    assert alone["losses"][0] == pytest.approx(log(2), abs=1e-5)
    told = preferred[1]["preference"]
    assert preferred[1]["losses"][0] == pytest.approx(log(2) - told["chosen_before"] / 7, rel=0.1)


def test_adding_the_likelihood_keeps_the_chosen_side_likely(preferring, train, preferred):
    alone = train(preferring(DPO))["preference"]
    assert alone["margin_after"] > 1
    assert alone["chosen_after"] < preferred[1]["preference"]["chosen_after"]


def test_a_killed_training_goes_on_bitwise_equal(preferring, train, preferred):
    disturbed = preferring(replace(BOTH, save_steps=7))

    def kill(report):
        if report["step"] >= 20:
            raise Killed  # which kills the child

    with pytest.raises(Killed):
        train(disturbed, progress=kill)
    assert not Path(disturbed.out).exists()
    resumed = train(disturbed)
    assert resumed["resumed_from"] == 14
    assert outcome(resumed) == outcome(preferred[1])


def test_an_adapter_is_trained_on_pairs_and_leaves_its_reference_behind(preferring, train, trained):
    lora = replace(DPO, method="lora", lora_rank=4, learning_rate=5e-3)
    first = preferring(lora)
    result = train(first)
    assert result["kind"] == "adapter"
    assert result["preference"]["margin_after"] > result["preference"]["margin_before"] + 0.3
    assert "ref" not in json.loads((Path(first.out) / "adapter_config.json").read_text())
    assert not (Path(first.out) / "ref").exists()
    with pytest.raises(TrainingFault, match="begin at its base, with restart = base"):
        train(preferring(lora, adapter=first.out))
