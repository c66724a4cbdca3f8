"""Every filter of Self-Instruct, with what it refuses and what it must not, and novelty against its plain definition."""

import random

import pytest

from tasks.verifiers.instance_filter import (
    COLON,
    CONTRADICTION,
    DUPLICATE,
    NO_OUTPUT,
    SAME,
    Instance,
    judged,
)
from tasks.verifiers.instruction_filter import (
    KEYWORD,
    KEYWORDS,
    LONG,
    NOT_ASCII,
    PROGRAM,
    PUNCTUATION,
    SHORT,
    TRUNCATED,
    refusal,
)
from tasks.verifiers.novelty import Pool
from tasks.verifiers.root_words import Root, root_of
from tasks.verifiers.rouge import f_measure, words

GOOD, OTHER = Instance("2 + 2", "4"), Instance("3 + 3", "6")


@pytest.mark.parametrize(
    ("refused", "near_miss", "filter"),
    [
        ("Tell a joke.", "Tell a short joke.", SHORT),
        (" ".join(["word"] * 151), " ".join(["word"] * 150), LONG),
        ("Describe what the Graph shows us.", "Describe the paragraph in your words.", KEYWORD),
        ("Tell me how to go to Rome.", "Tell me how to go on to Rome.", KEYWORD),
        ("Write a program that adds numbers.", "Write a programme for the concert.", PROGRAM),
        ("write a program that adds numbers.", "Explain how to write a program.", PROGRAM),
        ("(Optional) Tell a short story.", "Tell a short story (optional).", PUNCTUATION),
        ("Écrivez une lettre à un ami.", "Translate écrivez une lettre into English.", NOT_ASCII),
    ],
)
def test_each_filter_refuses_its_own_and_nothing_near_it(refused, near_miss, filter):
    said = refusal(refused)
    assert said is not None
    assert said.filter == filter
    assert said.text.startswith(f"{filter}: ")
    assert ("program" in near_miss and filter == PROGRAM) or refusal(near_miss) is None


def test_a_programme_is_no_program():
    assert refusal("Explain how to write a program.") is None


@pytest.mark.parametrize("word", KEYWORDS)
def test_every_keyword_counts_as_a_word_alone(word):
    assert refusal(f"Please {word.upper()} something for me").filter == KEYWORD  # type: ignore[union-attr]
    assert refusal(f"Please x{word}x something for me") is None


@pytest.mark.parametrize(
    ("instance", "filter"),
    [
        (Instance("yes", "yes"), SAME),
        (Instance("2 + 2", ""), NO_OUTPUT),
        (Instance("", ""), NO_OUTPUT),
        (Instance("Name these:", "a fox"), COLON),
        (Instance("a fox", "It is:"), COLON),
    ],
)
def test_a_faulty_instance_goes_and_those_beside_it_stay(instance, filter):
    refused, kept = judged([instance, GOOD])
    assert refused.filter == filter
    assert kept is None


def test_a_truncated_text_loses_its_last_instance_only():
    assert [one and one.filter for one in judged([GOOD, OTHER], truncated=True)] == [None, TRUNCATED]


def test_one_input_with_two_outputs_takes_all_instances_with_it():
    said = judged([GOOD, Instance("2 + 2", "5"), OTHER])
    assert [one.filter for one in said] == [CONTRADICTION] * 3  # type: ignore[union-attr]


def test_no_input_with_two_outputs_is_no_contradiction():
    assert judged([Instance("", "a poem"), Instance("", "another")]) == [None, None]


def test_what_is_refused_anyway_contradicts_nobody():
    assert [one and one.filter for one in judged([GOOD, Instance("2 + 2", "")])] == [None, NO_OUTPUT]


def test_the_same_instance_counts_once():
    assert [one and one.filter for one in judged([GOOD, GOOD, OTHER])] == [None, DUPLICATE, None]


def test_f_is_rouge_scores_own_on_random_pairs():
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=False)
    from benchmarks.novelty import agreement, instructions

    draw = random.Random(3)
    differ, above = agreement(instructions(300, draw), scorer, 300, draw)
    assert differ == 0
    assert 30 < above < 270
    for one, other in (("", "a b"), ("Ünï-côde 42!", "ünï côde 42"), ("a b c d e f g h i j", "a b c d e f g x y z")):
        assert f_measure(words(one), words(other)) == scorer.score(other, one)["rougeL"].fmeasure


def test_seven_words_of_ten_are_not_more_than_the_threshold():
    pool = Pool(["a b c d e f g x y z"])
    (same,) = pool.admit(["a b c d e f g h i j"], 0.7)
    assert same.admitted
    (more,) = pool.admit(["a b c d e f g x y j"], 0.7)
    assert (more.admitted, more.nearest.text) == (False, "a b c d e f g x y z")


def test_the_nearest_is_what_comparing_with_everything_finds():
    from benchmarks.novelty import changed, instructions

    draw = random.Random(4)
    texts = instructions(400, draw)
    asked = [changed(draw.choice(texts), draw) if n % 2 else one for n, one in enumerate(instructions(300, draw))]
    plain = [max(f_measure(words(one), words(other)) for other in texts) for one in asked]
    assert [one.score for one in Pool(texts).nearest(asked)] == plain
    assert [one.score for one in Pool([*texts, "…", ""]).nearest(["…", *asked[:9]])] == [0.0, *plain[:9]]


def test_candidates_are_admitted_in_turn_each_against_those_before():
    from benchmarks.novelty import changed, instructions

    draw = random.Random(5)
    asked = instructions(300, draw)
    asked = [changed(draw.choice(asked), draw) if n % 2 else one for n, one in enumerate(asked)]
    kept: list[str] = []
    expected = []
    for one in asked:
        best = max((f_measure(words(one), words(other)) for other in kept), default=0.0)
        expected.append(best <= 0.7)
        kept += [one] if best <= 0.7 else []
    pool = Pool()
    said = pool.admit(asked, 0.7)
    assert [one.admitted for one in said] == expected
    assert len(pool) == len(kept) == sum(expected) < 300
    assert all(one.nearest.score > 0.7 for one in said if not one.admitted)


@pytest.mark.parametrize(
    ("instruction", "root"),
    [
        ("Write a short poem about rain.", Root("write", "poem")),
        ("Given a sentence, classify the tone of it.", Root("classify", "tone")),
        ("Can you please suggest three good titles for the talk?", Root("suggest", "titles")),
        ("What is the capital of Chile?", Root(None, None)),
        ("Summarize.", Root("summarize", None)),
        ("42", Root(None, None)),
    ],
)
def test_the_root_of_an_instruction_is_its_verb_and_its_object(instruction, root):
    assert root_of(instruction) == root
