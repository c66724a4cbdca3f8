import pytest

from storage.errors import UserMistake
from tasks.training.order import lay_out
from tasks.training.recipe import Recipe


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"steps": 0}, "the recipe's steps is 0; it must be at least 1"),
        ({"steps": 1, "schedule": "cosin"}, "no schedule 'cosin' for training; choose one of linear, cosine, constant"),
        ({"steps": 1, "method": "dora"}, "no method 'dora' for training; choose one of full, lora, qlora"),
        ({"steps": 1, "learning_rate": 0.0}, "learning_rate is 0.0; it must be above 0"),
        ({"steps": 1, "betas": [0.9, 1.0]}, r"betas are \[0.9, 1.0\]; both must lie in \[0, 1\)"),
        ({"steps": 1, "warmup_steps": -1}, "warmup_steps is -1; it cannot be negative"),
        ({"steps": 1, "lr": 1.0}, "no recipe setting 'lr'; there are: batch_size, .*learning_rate"),
        ({}, "the recipe names no number of steps"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_in_one_sentence(settings, sentence):
    with pytest.raises(UserMistake, match=sentence):
        Recipe.of(settings)


def test_a_recipe_survives_plain_values():
    recipe = Recipe(steps=3, betas=(0.8, 0.9), lora_targets=("q_proj", "v_proj"))
    assert Recipe.of(recipe.plain()) == recipe


def test_the_identity_leaves_out_what_does_not_decide_the_weights():
    assert Recipe(steps=3, save_steps=1).canonical() == Recipe(steps=3).canonical()
    assert Recipe(steps=3, lora_rank=4).canonical() == Recipe(steps=3).canonical()
    lora = Recipe(steps=3, method="lora")
    assert lora.canonical() != Recipe(steps=3, method="lora", lora_rank=4).canonical()
    assert Recipe(steps=3, learning_rate=0.5).canonical() != Recipe(steps=3).canonical()


def test_no_row_is_seen_twice_before_all_were_seen_once():
    order = lay_out(10, 25, seed=1)
    assert len(order) == 25
    assert sorted(order[:10]) == sorted(order[10:20]) == list(range(10))
    assert order[:10] != order[10:20]
    assert order == lay_out(10, 25, seed=1)
    assert order != lay_out(10, 25, seed=2)


def test_a_longer_training_begins_with_the_order_of_a_shorter_one():
    assert lay_out(7, 40, seed=3)[:12] == lay_out(7, 12, seed=3)


def test_what_is_switched_off_is_in_no_identity():
    """So that a setting which is added leaves the identities of trainings without it as they were."""
    before = {"steps", "batch_size", "learning_rate", "warmup_steps", "schedule", "weight_decay", "betas", "max_grad_norm",
              "max_length", "truncate", "grad_accumulation", "method", "dtype", "gradient_checkpointing"}  # fmt: skip
    assert set(Recipe(steps=1).canonical()) == before
    assert set(Recipe(steps=1, group_by_length=True, processes=2).canonical()) == before | {
        "group_by_length",
        "processes",
    }
    adapters = {"lora_rank", "lora_alpha", "lora_dropout", "lora_targets"}
    assert set(Recipe(steps=1, method="qlora").canonical()) == before | adapters
