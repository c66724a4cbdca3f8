"""What is refused before a preference training begins."""

from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import TrainingFault, UserMistake
from storage.records import Example
from tasks.training.embedded import Architecture, make_tokenizer
from tasks.training.pairs import check_holds, read_pairs, tokenise_pairs
from tasks.training.recipe import Recipe
from tasks.training.rows import read_rows
from tests.training.conftest import write_examples, write_pairs

RIGHT, WRONG, OTHER = Example.of("1+2=", "A3"), Example.of("1+2=", "A4"), Example.of("2+2=", "A5")
DPO = Recipe(steps=1, objective="dpo")


@pytest.fixture
def stored(tmp_path):
    def store(pairs, **columns) -> tuple[list[str], list[str]]:
        examples = write_examples(tmp_path / "examples.parquet", [RIGHT, WRONG, OTHER])
        return [examples], [write_pairs(tmp_path / "members.parquet", pairs, **columns)]

    return store


def test_pairs_come_in_their_order_with_both_sides(stored):
    pairs = read_pairs(*stored([(RIGHT, WRONG), (WRONG, RIGHT)]))
    assert [(pair.number, pair.chosen.completion, pair.rejected.completion) for pair in pairs] == [
        (0, "A3", "A4"), (1, "A4", "A3"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "columns", "sentence"),
    [
        (
            [(RIGHT, OTHER)],
            {},
            "the sides of pair 0 answer different prompts, '1\\+2=' and '2\\+2='; pair answers of one",
        ),
        ([(RIGHT, RIGHT)], {}, "both sides of pair 0 are 'A3'; a text is not better than itself"),
        ([(RIGHT, WRONG)], {"role": ["chosen", "chosen"]}, "pair 0 of the mix has two chosen sides"),
        ([(RIGHT, WRONG)], {"pair": [0, 1]}, "pair 0 of the mix has no rejected side"),
        ([(RIGHT, WRONG)], {"pair": [0, None]}, "is rejected, in no pair; preference training takes pairs alone"),
        ([(RIGHT, WRONG)], {"role": ["sampled", "rejected"]}, "is sampled, in no pair"),
    ],
)
def test_a_pair_that_is_none_is_refused(stored, pairs, columns, sentence):
    with pytest.raises(TrainingFault, match=sentence):
        read_pairs(*stored(pairs, **columns))


def test_wrong_answers_are_never_imitated(stored):
    with pytest.raises(TrainingFault, match=r"a pair's chosen side.*set training.objective = dpo"):
        read_rows(*stored([(RIGHT, WRONG)]))


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(Architecture())


def test_both_sides_end_in_eos_behind_the_same_prompt(stored, tokenizer):
    (pair,) = tokenise_pairs(read_pairs(*stored([(RIGHT, WRONG)])), tokenizer, DPO)
    assert pair.plain == {"prompt_ids": [1, 10, 2, 11], "chosen_ids": [13, 3, 14], "rejected_ids": [13, 4, 14]}
    assert (pair.tokens, pair.trained_tokens, pair.longest) == (14, 6, 7)


def test_a_side_that_does_not_fit_is_refused_and_none_is_cut(stored, tokenizer):
    with pytest.raises(TrainingFault, match="has 7 tokens with its completion, more than max_length 6"):
        tokenise_pairs(read_pairs(*stored([(RIGHT, WRONG)])), tokenizer, replace(DPO, max_length=6))
    with pytest.raises(UserMistake, match="a side of a pair is never cut off"):
        replace(DPO, truncate=True)


def test_sides_that_are_the_same_tokens_are_refused(stored, tokenizer, tmp_path):
    """A completion that says its own EOS is another text, and the same tokens."""
    pairs = [(RIGHT, own := Example.of("1+2=", "A3\n"))]
    members = [write_pairs(tmp_path / "members.parquet", pairs)]
    with pytest.raises(TrainingFault, match="the sides of pair 0 are the same tokens"):
        tokenise_pairs(read_pairs([write_examples(tmp_path / "e.parquet", [RIGHT, own])], members), tokenizer, DPO)


def test_a_trainer_that_dropped_a_pair_is_found_out(stored, tokenizer):
    datasets = pytest.importorskip("datasets")
    pairs = tokenise_pairs(read_pairs(*stored([(RIGHT, WRONG), (WRONG, RIGHT)])), tokenizer, DPO)

    class Holding:
        train_dataset = datasets.Dataset.from_list([pairs[0].plain])

    with pytest.raises(TrainingFault, match="the trainer kept 1 of 2 pairs"):
        check_holds(Holding(), pairs)
    with pytest.raises(TrainingFault, match="pair 0 is not what was asked for"):
        check_holds(Holding(), pairs[1:])


def test_preference_settings_are_in_no_identity_of_another_training():
    plain = Recipe(steps=1).canonical()
    assert Recipe(steps=1, dpo_beta=0.5, nll_weight=2.0).canonical() == plain
    assert DPO.canonical() == plain | {"objective": "dpo", "dpo_beta": 0.1}
    assert replace(DPO, nll_weight=2.0).canonical() == DPO.canonical()
    assert replace(DPO, objective="dpo_nll").canonical() == plain | {
        "objective": "dpo_nll", "dpo_beta": 0.1, "nll_weight": 1.0,
    }  # fmt: skip
    with pytest.raises(UserMistake, match="no objective 'ppo' for training; choose one of sft, dpo, dpo_nll"):
        Recipe(steps=1, objective="ppo")


def test_the_module_that_trains_is_there_for_every_objective():
    for objective in ("sft", "dpo", "dpo_nll"):
        module = Recipe(steps=1, objective=objective).trainer
        assert Path(__file__).parents[2].joinpath(*module.split(".")).with_suffix(".py").is_file()
