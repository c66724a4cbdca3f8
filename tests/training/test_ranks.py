"""How a training in several processes is started; that they train what one would is in test_adapters."""

import json
import sys

import pytest

from storage.errors import TrainingFault, UserMistake
from tasks.training.embedded import Architecture
from tasks.training.ranks import CONFIG, command, fault_of
from tasks.training.recipe import Recipe
from tasks.training.spec import TrainingSpec

RECIPE = Recipe(steps=10, method="qlora", dtype="bfloat16", processes=4, batch_size=2)


def spec(recipe: Recipe = RECIPE, **changes) -> TrainingSpec:
    plain = {
        "base": "/base",
        "examples": (),
        "members": (),
        "recipe": recipe,
        "seed": 0,
        "out": "/out",
        "work": "/work",
    }
    return TrainingSpec(**plain | {"threads": 16} | changes)


def test_gpus_are_started_by_accelerate(monkeypatch):
    monkeypatch.delenv(CONFIG, raising=False)
    assert command("spec.json", spec(), accelerators=4) == [
        sys.executable, "-P", "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "4", "--num_machines", "1",
        "--main_process_port", "0", "--mixed_precision", "bf16", "--dynamo_backend", "no", "--num_cpu_threads_per_process", "4",
        "-m", "tasks.training.ranks", "spec.json",
    ]  # fmt: skip


def test_a_configuration_of_accelerates_own_takes_the_place_of_the_flags(monkeypatch, tmp_path):
    path = tmp_path / "fsdp.yaml"
    path.write_text("distributed_type: FSDP")
    monkeypatch.setenv(CONFIG, str(path))
    assert command("spec.json", spec(), 4)[3:] == [
        "accelerate.commands.launch", "--config_file", str(path), "-m", "tasks.training.ranks", "spec.json"
    ]  # fmt: skip
    monkeypatch.setenv(CONFIG, str(tmp_path / "gone.yaml"))
    with pytest.raises(TrainingFault, match=r"gone\.yaml, which is no file"):
        command("spec.json", spec(), 4)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.delenv(CONFIG, raising=False)
    with pytest.raises(
        TrainingFault, match=r"processes = 4, but there are 2 GPUs here; set training\.processes to that"
    ):
        command("spec.json", spec(), 2)


def test_accelerate_knows_the_flags(monkeypatch):
    monkeypatch.delenv(CONFIG, raising=False)
    from accelerate.commands.launch import launch_command_parser

    told = launch_command_parser().parse_args(command("spec.json", spec(), 4)[4:])
    assert (told.multi_gpu, told.num_processes, told.mixed_precision, told.module) == (True, 4, "bf16", True)
    assert (told.training_script, told.training_script_args) == ("tasks.training.ranks", ["spec.json"])


def test_a_step_sees_the_rows_of_all_processes():
    assert RECIPE.rows_per_step == 8
    assert RECIPE.canonical()["processes"] == 4
    with pytest.raises(UserMistake, match="fresh weights are trained by one process"):
        spec(Recipe(steps=1, processes=2), base=None, architecture=Architecture())


def test_what_a_process_refused_is_told_as_its_sentence_and_a_death_with_the_end_of_its_log(tmp_path):
    log, told = tmp_path / "ranks.log", tmp_path / "fault.json"
    log.write_text("starting\n\nCUDA error: out of memory\n")
    died = str(fault_of(told, log, -9))
    assert (
        died
        == f"the processes of a training ended with status -9; the end of {log}:\n    starting\n    CUDA error: out of memory"
    )
    told.write_text(json.dumps({"fault": "UserMistake", "sentence": "row 0 is too long"}))
    assert repr(fault_of(told, log, 1)) == repr(UserMistake("row 0 is too long"))
