"""Adapters on whole and on 4-bit bases: trained, resumed, trained on, put into the base, and answered with."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import TrainingFault, UserMistake
from storage.records import Example
from tasks.engines.protocol import Request, Sampling
from tasks.training.recipe import Recipe
from tests.training.conftest import sums
from tests.training.test_sft import Killed, outcome

pytestmark = pytest.mark.slow

PROBES = "tests.training.probes"
LORA = Recipe(
    steps=24,
    batch_size=16,
    learning_rate=3e-3,
    warmup_steps=0,
    schedule="constant",
    method="lora",
    lora_rank=4,
    max_length=64,
)
QLORA = replace(LORA, method="qlora")
ASKED = [Request(f"{place:032x}", f"{place:04d}+0034=") for place in range(8)]


@pytest.fixture(scope="module")
def base(trained, tmp_path_factory) -> str:
    """A base with a name of its own, for adapters to lie beside."""
    folder = tmp_path_factory.mktemp("checkpoints") / "whole"
    shutil.copytree(trained[0].out, folder)
    return str(folder)


@pytest.fixture
def adapted(spec, base):
    """A spec for an adapter that lies beside its base, and learns to say one thing."""

    def make(name: str, recipe: Recipe, **changes):
        out = str(Path(base).with_name(name))
        rows = [Example.of(one.prompt, "A99999") for one in sums(200)]
        return spec(rows, base=base, architecture=None, recipe=recipe, out=out, work=f"{out}.work", **changes)

    return make


@pytest.fixture(scope="module")
def written(processes):
    """What an engine answers with the model in a folder."""

    def write(folder: str | Path) -> list[str]:
        with processes.engine("transformers", Path(folder), threads=1) as engine:
            responses = {one.request_id: one for one in engine.generate(ASKED, Sampling(0.0, max_tokens=12))}
        return [responses[one.request_id].text for one in ASKED]

    return write


def test_qlora_learns_on_a_base_in_four_bits_and_an_engine_answers_with_it(adapted, train, base, written, processes):
    asked = adapted("in-four-bits", QLORA)
    result = train(asked)
    assert result["kind"] == "adapter"
    assert sum(result["losses"][-4:]) < 0.9 * sum(result["losses"][:4])
    seen = processes.call(f"{PROBES}:stored", asked.out, base)
    assert seen["adapter_dtypes"] == ["torch.float32"]
    assert result["parameters"] - result["trainable_parameters"] == seen["base_parameters"]
    assert {text[:3] for text in written(asked.out)} == {"A99"} != {text[:3] for text in written(base)}


def test_a_base_in_four_bits_is_another_model_than_the_whole_one(adapted, train):
    whole, four = (train(adapted(f"first-step-{recipe.method}", replace(recipe, steps=1))) for recipe in (LORA, QLORA))
    assert whole["losses"][0] != four["losses"][0]
    assert four["losses"][0] == pytest.approx(whole["losses"][0], rel=0.2)


def test_checkpointed_gradients_are_the_same_gradients(adapted, train):
    for recipe in (LORA, QLORA):
        plain = train(adapted(f"plain-{recipe.method}", replace(recipe, steps=2)))
        checkpointed = adapted(f"checkpointed-{recipe.method}", replace(recipe, steps=2, gradient_checkpointing=True))
        assert train(checkpointed)["losses"] == pytest.approx(plain["losses"], rel=1e-4)


@pytest.mark.parametrize("recipe", [LORA, QLORA], ids=["lora", "qlora"])
def test_a_killed_adapter_goes_on_bitwise_equal(adapted, train, recipe):
    undisturbed = train(adapted(f"undisturbed-{recipe.method}", recipe))
    disturbed = adapted(f"disturbed-{recipe.method}", replace(recipe, save_steps=2))

    def kill(report):
        if report["step"] >= 10:
            raise Killed

    with pytest.raises(Killed):
        train(disturbed, progress=kill)
    resumed = train(disturbed)
    assert resumed["resumed_from"] == 8
    assert outcome(resumed) == outcome(undisturbed)


def test_an_adapter_is_trained_on_from_where_it_was(adapted, train, base):
    first = adapted("first", LORA)
    began = train(first)
    second = adapted("second", LORA, adapter=first.out)
    went_on = train(second)
    assert went_on["losses"][0] < began["losses"][0]
    assert went_on["weights_digest"] != began["weights_digest"]
    config = json.loads((Path(second.out) / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == Path(base).name
    with pytest.raises(TrainingFault, match=r"has rank 4 and alpha 32, the recipe 8 and 32; set training\.lora_rank"):
        train(adapted("wider", replace(LORA, lora_rank=8), adapter=first.out))
    with pytest.raises(UserMistake, match="can only be trained on as one; set method = lora or qlora"):
        adapted("whole-again", replace(LORA, method="full"), adapter=first.out)


def test_a_merged_model_answers_as_its_adapter_does(adapted, train, base, written, processes, tmp_path):
    asked = adapted("to-merge", LORA)
    train(asked)
    out = tmp_path / "merged"
    made = processes.call("tasks.training.merged:merge", asked.out, base, str(out))
    assert {path.name for path in out.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert made["weights_digest"] == processes.call(f"{PROBES}:digest_of", str(out))["digest"]
    assert written(out) == written(asked.out)
    with pytest.raises(UserMistake, match="is there already"):
        processes.call("tasks.training.merged:merge", asked.out, base, str(out))


def test_rows_of_like_length_in_a_batch_are_the_same_rows(spec, train, trained):
    grouped = train(spec(recipe=replace(trained[0].recipe, group_by_length=True)))
    plain = trained[1]
    for name in ("rows_seen", "examples_seen", "tokens_seen", "tokens_trained", "trained_digest"):
        assert grouped[name] == plain[name]


def test_two_processes_train_what_one_would_on_as_many_rows(adapted, train):
    one = train(adapted("alone", replace(LORA, steps=6)))
    reports: list[dict] = []
    shared = adapted("shared", replace(LORA, steps=6, batch_size=8, processes=2, save_steps=3), threads=2)
    two = train(shared, progress=reports.append)
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-3)
    for name in ("rows_seen", "tokens_seen", "tokens_trained", "trained_digest"):
        assert two[name] == one[name]
    assert reports[-1]["step"] == 6
    assert not Path(shared.work).exists()
