"""A value model learns which texts are worth what, in a real process; what does not fit is refused with one sentence."""

import json
from pathlib import Path

import pytest

from storage.errors import TrainingFault, UserMistake
from storage.records import Example
from tasks.engines.protocol import Request, Sampling
from tasks.training.recipe import Recipe
from tasks.training.spec import TrainingSpec

pytestmark = pytest.mark.slow
RECIPE = Recipe(steps=40, batch_size=32, learning_rate=3e-3, warmup_steps=2, max_length=64, objective="value")
LOOK = Sampling(0.0, 1)


def texts(count):
    return [f"{n % 90 + 10}+{n % 7}=" + "".join(str((n * k) % 10) for k in range(n % 9)) for n in range(count)]


def worth(text):
    return 0.9 if text[-1] in "13579" else 0.2


def rows(count=300):
    return [Example.of(text, str(worth(text))) for text in dict.fromkeys(texts(count))]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    from tasks.training.embedded import Architecture, initialise

    folder = tmp_path_factory.mktemp("base") / "model"
    initialise(folder, 3, Architecture(hidden=32, layers=2, heads=2, mlp=64, positions=64))
    return folder


@pytest.fixture(scope="module")
def value_spec(spec, base):
    def make(examples, **changes) -> TrainingSpec:
        return spec(examples, architecture=None, base=str(base), recipe=RECIPE, **changes)

    return make


@pytest.fixture(scope="module")
def trained(value_spec, processes, tmp_path_factory):
    made = value_spec(rows())
    path = made.write(tmp_path_factory.mktemp("spec") / "spec.json")
    answer = processes.call("tasks.training.value:run", str(path), threads=1)
    again = processes.call("tasks.training.value:run", str(path), threads=1)
    assert again["files"] == answer["files"], "what is there is given back"
    return Path(made.out), answer


def ask(processes, ref, folder, prompts):
    with processes.engine(ref, folder) as engine:
        asked = [Request(f"{place:032x}", prompt) for place, prompt in enumerate(prompts)]
        found = {one.request_id: one for one in engine.generate(asked, LOOK)}
        return [found[one.request_id] for one in asked]


def test_it_tells_what_is_worth_much_from_what_is_not(trained, processes):
    folder, answer = trained
    assert answer["kind"] == "value"
    assert answer["final_loss"] < answer["losses"][0] / 4
    prompts = [f"{n}+5={digits}" for n in (12, 57) for digits in ("1", "12", "4447", "80", "333", "2226")]
    values = [float(one.text) for one in ask(processes, "value", folder, prompts)]
    assert all(0 <= value <= 1 for value in values)
    high = [value for value, prompt in zip(values, prompts, strict=True) if worth(prompt) > 0.5]
    low = [value for value, prompt in zip(values, prompts, strict=True) if worth(prompt) < 0.5]
    assert min(high) > max(low)
    one_by_one = [float(one.text) for one in ask(processes, "value:rows=1", folder, prompts)]
    assert one_by_one == pytest.approx(values, abs=1e-5), "padding beside longer texts changes nothing"


def test_what_it_cannot_read_has_no_value_and_the_others_have(trained, processes):
    folder, _ = trained
    told = ask(processes, "value", folder, ["12+5=", "x", "", "1" * 70])
    assert [one.finish_reason for one in told] == ["stop", "failed", "failed", "failed"]
    assert all(one.final for one in told[1:])
    assert "does not take 'x'" in str(told[1].error)
    assert told[3].error == "the text has 70 tokens and the value model's context is 64"


def test_a_model_of_another_kind_is_refused(base, processes):
    with pytest.raises(
        UserMistake, match="is no value model: it is LlamaForCausalLM and not ForSequenceClassification"
    ):
        processes.engine("value", base)


def test_a_value_model_can_go_on_from_an_earlier_one(trained, value_spec, processes, tmp_path):
    folder, first = trained
    more = value_spec(rows(), seed=8)
    document = json.loads(more.write(tmp_path / "spec.json").read_text()) | {"base": str(folder)}
    (tmp_path / "spec.json").write_text(json.dumps(document))
    answer = processes.call("tasks.training.value:run", str(tmp_path / "spec.json"), threads=1)
    assert answer["losses"][0] < first["losses"][0] / 4, "it begins with what the first one knew"


@pytest.mark.parametrize(
    ("example", "why"),
    [
        (Example.of("1+1=", "much"), "has the value 'much'; it must be a number from 0 to 1"),
        (Example.of("1+1=", "1.5"), "has the value '1.5'"),
        (Example.of("one", "0.5"), "has a character that the base's tokenizer does not know"),
        (Example.of("1" * 65, "0.5"), "has 65 tokens; give it from 1 to max_length = 64"),
    ],
)
def test_a_row_that_does_not_fit_is_named(example, why, value_spec, processes, tmp_path):
    path = value_spec([*rows(8), example]).write(tmp_path / "spec.json")
    with pytest.raises(TrainingFault, match=rf"row 8 of the value set \(exm_[0-9a-f]+\) {why}"):
        processes.call("tasks.training.value:run", str(path), threads=1)


def test_only_whole_weights_are_trained(value_spec, processes, tmp_path):
    made = value_spec(rows(8))
    path = made.write(tmp_path / "spec.json")
    document = json.loads(path.read_text())
    document["recipe"]["method"] = "lora"
    path.write_text(json.dumps(document))
    with pytest.raises(UserMistake, match="a value model is trained whole, by one process"):
        processes.call("tasks.training.value:run", str(path), threads=1)
