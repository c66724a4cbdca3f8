"""Which characters an embedded model needs for a problem set."""

import json

import pytest

from storage.errors import UserMistake
from tasks.characters import Characters, characters_of
from tasks.problems.registry import load
from tasks.prompts.render import completion, render
from tasks.training.embedded import Architecture


def questions(tmp_path, *rows):
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return load(f"jsonl:{path}")


def test_addition_keeps_its_alphabet_and_so_its_token_ids():
    assert characters_of(load("addition:1-5"), "addition", 100) == Characters(Architecture().alphabet, None)
    assert Architecture().alphabet == "0123456789+=?A\n"


def test_the_alphabet_of_addition_holds_every_text_of_it():
    problem_set = load("addition:1-5")
    texts = [render("addition", one).text + completion("addition", one) for one in problem_set.corpus(0, 500)]
    for split in ("train", "dev", "test"):
        for one in problem_set.take(split, 0, 200):
            texts += [render("addition", one, hinted=True).text, completion("addition", one, rationale=False)]
    assert set("".join(texts)) <= set(problem_set.alphabet)


def test_every_text_of_a_set_is_in_its_alphabet(tmp_path):
    """Those of questions, answers, solutions, and what templates add, in all splits; newline, which ends a text, is last."""
    found = characters_of(
        questions(
            tmp_path,
            {"question": "ab?", "gold": "c", "rationale": "de c", "split": "train"},
            {"question": "fg?", "gold": "h", "split": "train"},
            {"question": "ij?", "gold": "k", "split": "dev"},
            {"question": "lm?", "gold": "ñ", "split": "test"},
        ),
        "plain",
        1000,
    )
    assert found.alphabet.endswith("\n")
    assert set("abcdefghijklmñ? (The answer is .)") < set(found.alphabet)
    assert Architecture(found.alphabet).alphabet == found.alphabet
    assert found.longest == len("ab?de c") + 1


def test_a_set_without_worked_examples_says_what_to_do(tmp_path):
    with pytest.raises(UserMistake, match=r"has none; give its train problems a rationale, or set model\.source"):
        characters_of(questions(tmp_path, {"question": "1?", "gold": "2"}), "plain", 10)
