"""Real trainings through TRL, of a model with 20,000 parameters."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import TrainingFault
from storage.identity import digest
from tasks.training.recipe import Recipe
from tests.training.conftest import RECIPE, sums

pytestmark = pytest.mark.slow

PROBES = "tests.training.probes"
TIMES = ("startup_s", "work_s", "resumed_from")


class Killed(Exception):
    pass


def outcome(result: dict) -> dict:
    return {name: value for name, value in result.items() if name not in TIMES}


def test_training_lowers_the_loss_and_counts_what_it_saw(trained):
    _, result = trained
    assert result["final_loss"] < result["losses"][0] - 0.3
    assert len(result["losses"]) == result["steps"] == 24
    assert (result["rows"], result["rows_seen"], result["examples_seen"]) == (200, 384, 200)
    # 10 characters of prompt, 6 of completion, EOS
    assert (result["tokens_seen"], result["tokens_trained"]) == (384 * 17, 384 * 7)
    assert result["trained_digest"] == digest(sorted({row.example_id for row in sums(200)}))
    assert result["trainable_parameters"] == result["parameters"]


def test_every_step_has_the_loss_of_an_unchanged_trainer(trained, processes):
    spec, result = trained
    plain = processes.call(f"{PROBES}:plain_losses", str(Path(spec.out).parent / "spec.json"), threads=1)
    assert plain["losses"] == pytest.approx(result["losses"], abs=1e-3)


def test_the_folder_holds_the_model_and_nothing_else(trained):
    spec, result = trained
    files = {path.name for path in Path(spec.out).iterdir()}
    assert files == {
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert set(result["files"]) == files - {"model.safetensors"} | {"weights"}
    assert result["files"]["weights"] == result["weights_digest"]
    assert {path.name for path in Path(spec.out).parent.iterdir()} == {
        "examples.parquet", "members.parquet", "spec.json", "training.log", "model", "model.training.json"
    }  # fmt: skip
    generation = json.loads((Path(spec.out) / "generation_config.json").read_text())
    assert (generation["do_sample"], generation["eos_token_id"], generation["pad_token_id"]) == (False, 14, 15)


def test_no_path_of_this_machine_is_in_the_folder(trained):
    spec, _ = trained
    for path in Path(spec.out).iterdir():
        assert str(Path(spec.out).parent).encode() not in path.read_bytes()


def test_asked_again_it_gives_the_same_answer_without_training(trained, train):
    spec, result = trained
    steps: list[dict] = []
    assert outcome(train(spec, progress=steps.append)) == outcome(result)
    assert steps == []


def test_the_same_training_gives_the_same_weights_and_another_seed_others(spec, train, trained):
    assert outcome(train(spec())) == outcome(trained[1])
    assert train(spec(seed=8))["weights_digest"] != trained[1]["weights_digest"]


def test_a_damaged_folder_is_made_again(spec, train, trained):
    again = spec()
    train(again)
    (Path(again.out) / "config.json").write_text("{}")
    assert outcome(train(again)) == outcome(trained[1])


@pytest.mark.parametrize("damage", ["none", "weights", "unsealed"])
def test_a_killed_training_goes_on_from_its_last_complete_checkpoint_bitwise_equal(spec, train, trained, damage):
    disturbed = spec(recipe=replace(RECIPE, save_steps=7))

    def kill(report):
        if report["step"] >= 20:
            raise Killed  # which kills the child

    with pytest.raises(Killed):
        train(disturbed, progress=kill)
    saved = sorted(path.name for path in Path(disturbed.work).glob("checkpoint-*"))
    assert saved[:2] == ["checkpoint-14", "checkpoint-7"]
    assert not Path(disturbed.out).exists()
    last = Path(disturbed.work) / "checkpoint-14"
    if damage == "weights":
        content = bytearray((last / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (last / "model.safetensors").write_bytes(content)
    elif damage == "unsealed":
        (last / "complete.json").unlink()
    resumed = train(disturbed)
    assert resumed["resumed_from"] == (14 if damage == "none" else 7)
    assert outcome(resumed) == outcome(trained[1])
    assert not Path(disturbed.work).exists()


def test_checkpoints_of_another_training_are_not_gone_on_with(spec, train):
    first = spec(recipe=replace(RECIPE, save_steps=7))

    def kill(report):
        if report["step"] >= 10:
            raise Killed

    with pytest.raises(Killed):
        train(first, progress=kill)
    other = replace(first, recipe=replace(first.recipe, learning_rate=1e-3))
    assert train(other)["resumed_from"] == 0


def test_accumulating_gradients_equals_larger_batches(spec, train, trained):
    halves = train(spec(recipe=replace(RECIPE, batch_size=8, grad_accumulation=2)))
    assert halves["losses"] == pytest.approx(trained[1]["losses"], rel=1e-3)
    assert halves["tokens_trained"] == trained[1]["tokens_trained"]


def test_progress_is_told_every_ten_steps_and_at_the_end(spec, train):
    reports: list[dict] = []
    train(spec(), progress=reports.append)
    assert [(report["step"], report["steps"]) for report in reports] == [(10, 24), (20, 24), (24, 24)]
    assert reports[-1]["loss"] < reports[0]["loss"]


def test_training_goes_on_from_a_base_and_keeps_its_tokenizer_byte_for_byte(spec, train, trained):
    base, first = trained
    second = train(spec(base=base.out, architecture=None))
    assert second["losses"][0] < first["losses"][0]
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json", "generation_config.json"):
        assert second["files"][name] == first["files"][name]


def test_lora_trains_an_adapter_that_peft_puts_on_its_base(spec, train, trained, processes):
    base, _ = trained
    lora = Recipe(steps=6, batch_size=16, learning_rate=1e-2, warmup_steps=0, method="lora", lora_rank=4)
    adapted = spec(base=base.out, architecture=None, recipe=lora)
    result = train(adapted)
    assert result["kind"] == "adapter"
    assert 0 < result["trainable_parameters"] < result["parameters"] / 2
    assert {path.name for path in Path(adapted.out).iterdir()} == {
        "adapter_model.safetensors", "adapter_config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"
    }  # fmt: skip
    seen = processes.call(f"{PROBES}:adapter", base.out, adapted.out)
    assert seen["changed"] > 1e-3
    assert all("lora_" in name for name in seen["tensors"])
    assert outcome(train(replace(adapted, out=adapted.out + "2"))) == outcome(result)


def test_bfloat16_weights_are_saved_as_such(spec, train, processes):
    half = spec(recipe=replace(RECIPE, dtype="bfloat16", steps=3))
    train(half)
    assert processes.call(f"{PROBES}:dtype", half.out) == {"dtype": "torch.bfloat16"}


def test_a_loss_that_is_no_number_stops_the_training(spec, train):
    wild = spec(recipe=replace(RECIPE, learning_rate=1e38, warmup_steps=0, max_grad_norm=0.0))
    with pytest.raises(
        TrainingFault, match=r"the loss was not a number any more at step [0-9]+; lower the learning rate"
    ):
        train(wild)
    assert not Path(wild.out).exists()


def test_nothing_to_train_on_is_refused_before_anything_is_made(spec, train):
    empty = spec(examples=[])
    with pytest.raises(TrainingFault, match="the training set is empty"):
        train(empty)
    long = spec(recipe=replace(RECIPE, max_length=16))
    with pytest.raises(TrainingFault, match=r"row 0 of the mix \(exm_.*\) has 17 tokens .*\(199 more rows like it\)"):
        train(long)
    assert not Path(long.out).exists()


def test_a_base_that_is_no_model_is_refused(spec, train, tmp_path):
    with pytest.raises(TrainingFault, match=r"is no model folder: it has no config\.json"):
        train(spec(base=str(tmp_path), architecture=None))


def test_weights_are_known_by_their_tensors_however_they_are_filed(trained, processes, tmp_path):
    seen = processes.call(f"{PROBES}:reshard", trained[0].out, str(tmp_path / "many"))
    assert int(seen["files"]) > 1
    assert seen["one"] == seen["many"] == trained[1]["weights_digest"]
    assert seen["changed"] != seen["one"]
