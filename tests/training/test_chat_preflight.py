"""The preflight in a chat: a prompt is, token by token, what the tokenizer's own `apply_chat_template` gives, or nothing is trained."""

import pytest

pytestmark = pytest.mark.slow

TEMPLATE = (
    "{% for one in messages %}[u]{{ one.content | trim }}{% endfor %}{% if add_generation_prompt %}[a]{% endif %}"
)
OTHER = "{% for one in messages %}[a]{{ one.content }}{% endfor %}[u]"


@pytest.fixture(scope="module")
def said(processes):
    return processes.call("tests.training.probes:chats", TEMPLATE, OTHER)


def test_rows_of_the_templates_own_making_are_trained(said):
    assert len(said["sound"]) == 2
    assert len(said["off"]) == 2


@pytest.mark.parametrize("kind", ["bare", "cut", "empty"])
def test_a_prompt_that_the_template_does_not_make_is_refused(said, kind):
    assert said[kind].startswith("row 1 of the mix (exm_")
    assert "which the base's chat template does not make; sample anew" in said[kind]


def test_a_prompt_whose_tokens_are_others_is_refused(said):
    assert (
        "begins with other tokens than the base's chat template gives for its turn, from token 3 on" in said["spaced"]
    )


def test_another_template_than_the_bases_is_refused(said):
    assert "rendered with another chat template than the base's tokenizer has" in said["other"]
    assert said["none"] == said["other"]
