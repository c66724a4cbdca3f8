"""Self-Instruct's prompts, and how its answers are read."""

import pytest

from storage.errors import UserMistake
from tasks.prompts.chat import Chat
from tasks.prompts.instruct import (
    TRAINED,
    check_template,
    classification,
    instances_in,
    instructions_in,
    is_classification,
    proposal,
    request,
    trained,
)

OURS = "self_instruct"


def test_a_proposal_numbers_its_examples_and_stops_before_the_next():
    text = proposal(OURS, ["Name\n three  fruits:", "Give a rhyme."], None).text
    assert text == "Come up with a series of tasks:\n1. Name three fruits\n2. Give a rhyme.\n3."


def test_the_classification_test_shows_twelve_that_are_and_nineteen_that_are_not():
    text = classification(OURS, "Name three fruits.", None).text
    assert text.count("Is it classification? Yes") == 12
    assert text.count("Is it classification? No") == 19
    assert text.endswith("\n\nTask: Name three fruits.\nIs it classification?")


def test_instances_are_asked_for_label_first_or_input_first():
    label, given = (request(OURS, "Name three fruits.", yes, None).text for yes in (True, False))
    assert "Class label:" in label
    assert "Class label:" not in given
    assert all(text.endswith("\n\nTask: Name three fruits.\n") for text in (label, given))


def test_training_forms_are_all_different_and_leave_out_an_input_that_is_not_there():
    texts = {trained(OURS, form, "Add.", "1 2", None) for form in TRAINED}
    assert len(texts) == len(TRAINED) == 6
    assert all("Add." in text and "1 2" in text for text in texts)
    bare = [trained(OURS, form, "Add.", "", None) for form in TRAINED]
    assert not any("Input" in text or "\n\n\n" in text for text in bare)


def test_a_chat_is_put_around_every_prompt():
    chat = Chat("{% for m in messages %}[{{ m.content }}]{% endfor %}")
    assert proposal(OURS, ["Give a rhyme."], chat).text == "[Come up with a series of tasks:\n1. Give a rhyme.\n2.]"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" name three fruits.\n10. Write a haiku\nabout NASA.\n11 . Sing.", ["Name three fruits.", "Write a haiku about NASA.", "Sing."]),
        ("9. Name three fruits.\n10. Sing.", ["Name three fruits.", "Sing."]),
        ("Count to 3. Then stop.", ["Count to 3. Then stop."]),
        ("\n10.\n11. Sing.", ["Sing."]),
        ("  \n ", []),
        ("16.", []),
    ],
)  # fmt: skip
def test_instructions_are_read_from_a_list_that_goes_on(text, found):
    assert instructions_in(text) == found


@pytest.mark.parametrize(
    ("text", "yes"), [(" Yes", True), ("yes.", True), (" No", False), ("", False), ("Maybe yes", False)]
)
def test_only_a_yes_makes_a_classification(text, yes):
    assert is_classification(text) is yes


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Example 1\nInput: a\nOutput: b\nExample 2\nInput: c\nOutput: d e\nf", [("a", "b"), ("c", "d e\nf")]),
        ("Output: a poem\nof two lines", [("", "a poem\nof two lines")]),
        ("Example 1\nOutput: b\nInput: a stray one\nOutput: c", [("", "b")]),
        ("Example 1\njust a text", [("", "just a text")]),
        ("Input: For Example 3 apples\nOutput: 3", [("For Example 3 apples", "3")]),
        ("Example 1\nInput: a", [("", "")]),
        ("no form at all", []),
        ("", []),
    ],
)
def test_instances_with_inputs_first_are_read(text, found):
    assert instances_in(text, classified=False) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Class label: Yes\nText: a b\nClass label: No\nText: c\nd", [("Text: a b", "Yes"), ("Text: c\nd", "No")]),
        ("Class label: Yes", [("", "Yes")]),
        ("Class label:", [("", "")]),
        ("Yes\nText: a", []),
    ],
)
def test_instances_with_labels_first_are_read(text, found):
    assert instances_in(text, classified=True) == found


def test_a_template_set_that_lacks_a_form_is_named():
    with pytest.raises(UserMistake, match=r"'plain' has no propose\.jinja; Self-Instruct needs: propose, classify"):
        check_template("plain")
