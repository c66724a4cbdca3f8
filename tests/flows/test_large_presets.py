"""Presets for models that are not here: they parse, and `plan` goes through them without a network and says what it assumes."""

import pytest

from flows.plan import plan
from flows.rehearsal import DEPENDS
from flows.resolving import presets, resolve
from storage.errors import UserMistake
from storage.home import Home
from tests.problems.test_public_sets import DATA, needs_data

LARGE = sorted(
    name for name, one in presets().items() if "/" in one["config"].get("model", {}).get("source", "").partition(":")[0]
)


def test_the_tutorials_own_case_is_trained_in_four_bits():
    assert {"constrained-7b", "gsm8k-7b", "tutorial-arc", "tutorial-gsm8k"} <= set(LARGE)
    for name in ("tutorial-arc", "tutorial-gsm8k"):
        config = resolve("star", name, {})
        assert config.training.method == "qlora"
        assert "quantization=4bit" in config.engine
        assert config.model.source == "Qwen/Qwen2.5-3B-Instruct"
        assert config.training.recipe(config.training.steps_in(1)).dtype == "bfloat16"


@needs_data
@pytest.mark.parametrize("name", LARGE)
def test_a_run_of_a_model_that_is_not_here_can_be_planned(name, tmp_path, monkeypatch):
    monkeypatch.setenv("STARLOOP_DATA_DIR", str(DATA))
    method = presets()[name]["method"]
    config = resolve(
        method, name, {"problems_per_iteration": 20, "evaluation.dev_problems": 20, "evaluation.test_problems": 20}
    )
    made = plan(method, config, Home.open(tmp_path / "home"), workers=1)
    steps = {(step.iteration, step.title): step for step in made.steps}
    assert steps[0, "take in"].run == 1
    assert steps[0, "answer dev"].waits_for == ("0 take in",)
    trained = [step for step in made.steps if step.title.startswith("fine-tune")]
    assert {step.iteration for step in trained} == set(range(1, config.iterations + 1))
    assert all(step.depends == 1 for step in trained)
    assert made.count(DEPENDS) > 10
    assumed, *of_a_value_model = made.assumed
    assert len(of_a_value_model) == (method == "rest_mcts")
    assert assumed.startswith(f"{config.model.source} is not on this machine: it is taken to be on the hub")
    assert not list((tmp_path / "home").glob("checkpoints/*"))


def test_a_folder_that_is_not_there_is_a_mistake_also_in_a_plan(tmp_path):
    config = resolve("star", "addition-smoke", {"model.source": "models/that is not there"})
    with pytest.raises(UserMistake, match="no name on the hub"):
        plan("star", config, Home.open(tmp_path / "home"), workers=1)
