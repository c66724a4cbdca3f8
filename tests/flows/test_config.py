"""Settings: schedules, shares, arms, and the form that the Prefect UI makes of them."""

import pytest
from pydantic import BaseModel

from flows.cli.settings import nested, parse
from flows.config import MixConfig, TrainingConfig
from flows.method_config import CONFIGS, StarConfig
from flows.refs import refs_of
from flows.request import StarRequest, pruned
from flows.resolving import presets, resolve
from flows.stopping import on_plateau
from storage.errors import UserMistake


def test_steps_follow_the_papers_two_schedules():
    exponential = TrainingConfig(steps=40, step_schedule="exponential", step_growth=1.2)
    assert [exponential.steps_in(n) for n in (1, 2, 3, 4)] == [40, 48, 57, 69]
    linear = TrainingConfig(steps=300, step_schedule="linear", step_growth=20)
    assert [linear.steps_in(n) for n in (1, 2, 3)] == [300, 320, 340]
    assert TrainingConfig(steps=7).steps_in(9) == 7


@pytest.mark.parametrize(
    ("decay", "shares"), [("constant", [0.9, 0.9, 0.9]), ("linear", [0.9, 0.7, 0.5]), ("cosine", [0.9, 0.7, 0.5])]
)
def test_the_self_generated_share_decays(decay, shares):
    mix = MixConfig(self_share=0.9, final_self_share=0.5, decay=decay, decay_iterations=3)
    assert [mix.share_in(n) for n in (1, 2, 3)] == pytest.approx(shares)


def test_cosine_decay_starts_slower_than_linear():
    mixes = [
        MixConfig(self_share=1.0, final_self_share=0.5, decay=decay, decay_iterations=5)
        for decay in ("linear", "cosine")
    ]
    linear, cosine = [mix.share_in(2) for mix in mixes]
    assert cosine > linear


def at(accuracy, half=0.05):
    return {"held_out_accuracy": accuracy, "ci_low": accuracy - half, "ci_high": accuracy + half}


def test_a_plateau_is_so_many_iterations_inside_the_interval_of_the_one_before():
    climbing = [at(0.4), at(0.5), at(0.6)]
    flat = [at(0.4), at(0.6), at(0.62), at(0.61)]
    assert not on_plateau(climbing, 2)
    assert on_plateau(flat, 2)
    assert not on_plateau(flat, 3)
    assert not on_plateau(flat, 0)
    assert not on_plateau([at(0.6)], 1)


def test_an_iteration_without_a_verdict_is_no_plateau():
    assert not on_plateau([at(0.6), {"held_out_accuracy": None, "ci_low": None, "ci_high": None}], 1)


def test_an_untouched_form_changes_nothing_of_a_preset():
    for name, preset in presets().items():
        untouched = StarRequest(preset=name)
        assert untouched.settings() == {}
        assert resolve(preset["method"], name, untouched.settings()) == resolve(preset["method"], name, {})


def test_every_override_is_empty_by_default_and_keeps_its_bounds():
    schema = StarRequest.model_json_schema()
    overrides = schema["$defs"]["StarOverrides"]["properties"]
    assert set(overrides) == set(StarConfig.model_fields)
    assert all(field["default"] is None for field in overrides.values())
    assert {"minimum": 1, "maximum": 1000, "type": "integer"} in overrides["iterations"]["anyOf"]
    assert overrides["restart"]["description"] == "which weights each iteration trains from"


def test_nested_overrides_merge_with_the_preset():
    request = StarRequest.model_validate({"preset": "addition-quick", "overrides": {"training": {"steps": 5}}})
    config = resolve("star", "addition-quick", request.settings())
    assert config.training.steps == 5
    assert config.training.learning_rate == resolve("star", "addition-quick", {}).training.learning_rate


def test_a_setting_of_zero_is_not_an_empty_one():
    assert pruned({"rationalize_iterations": 0, "seed": None, "training": {"save_steps": 0, "steps": None}}) == {
        "rationalize_iterations": 0,
        "training": {"save_steps": 0},
    }


def test_arms_are_checked_when_the_whole_is():
    with pytest.raises(UserMistake, match=r"'training\.step' in arm 'b'"):
        resolve("star", "addition-smoke", {"arms": [{"name": "b", "set": {"training.step": 1}}]})


def test_arms_are_the_whole_with_what_differs():
    arms = [{"name": "a", "set": {}}, {"name": "b", "set": {"training.steps": 3, "seed": 4}}]
    first, second = resolve("star", "addition-smoke", {"arms": arms}).expanded()
    assert (first.name, second.name) == ("a", "b")
    assert (second.training.steps, second.seed) == (3, 4)
    assert second.training.batch_size == first.training.batch_size


@pytest.mark.parametrize(
    ("assignment", "read"),
    [
        ("rationalize_iterations=all", lambda config: config.rationalize_iterations == "all"),
        ("audit=none", lambda config: refs_of(config).audit is None),
        ("stop.max_tokens=none", lambda config: config.stop.max_tokens == "none"),
        ("stop.max_hours=none", lambda config: config.stop.max_hours == "none"),
        ("verifier=own", lambda config: refs_of(config).verifier == "sums"),
        ("template=own", lambda config: refs_of(config).template == "addition"),
    ],
)
def test_what_a_preset_switches_on_can_be_switched_off_again(assignment, read):
    """On the command line and in the form, which leaves out what is empty."""
    on = {"rationalize_iterations": 1, "audit": "sum_steps", "stop": {"max_tokens": 5, "max_hours": 1.5},
          "verifier": "exact", "template": "plain"}  # fmt: skip
    assert not read(resolve("star", "addition-quick", on))
    assert read(resolve("star", "addition-quick", on | parse([assignment])))
    asked = StarRequest.model_validate({"preset": "addition-quick", "overrides": nested(parse([assignment]))})
    assert read(resolve("star", "addition-quick", asked.settings()))
    assert nested(parse([assignment])) == asked.settings()


def test_a_setting_beside_its_word_keeps_its_bounds():
    with pytest.raises(
        UserMistake, match=r"^stop\.max_tokens = 0 does not fit in star: .*greater than or equal to 1, or"
    ):
        resolve("star", None, {"stop.max_tokens": 0})
    with pytest.raises(UserMistake, match=r"^rationalize_iterations = 'some' does not fit in star"):
        resolve("star", None, {"rationalize_iterations": "some"})


@pytest.mark.parametrize("method", sorted(CONFIGS))
def test_every_field_of_a_form_says_what_it_is(method):
    def fields(kind, prefix=""):
        for name, info in kind.model_fields.items():
            inner = info.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from fields(inner, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", info.description

    assert [name for name, what in fields(CONFIGS[method]) if not what] == []
