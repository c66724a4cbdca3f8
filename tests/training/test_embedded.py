import pytest

from storage.errors import UserMistake
from tasks.training.embedded import Architecture

pytestmark = pytest.mark.slow  # a process that imports the trainer


@pytest.fixture(scope="module")
def seen(processes, tmp_path_factory):
    return processes.call("tests.training.probes:embedded", str(tmp_path_factory.mktemp("embedded")))


def test_one_character_is_one_token_and_text_comes_back_exactly(seen):
    assert len(seen["ids"]) == len(seen["text"])
    assert seen["decoded"] == seen["with_newline"] == seen["text"]
    assert seen["newline"] == [seen["eos"]]


def test_the_weights_are_decided_by_the_seed(seen):
    first, again, other = seen["digests"]
    assert first == again
    assert {name for name in first if first[name] != other[name]} == {"weights"}


def test_the_default_has_the_size_it_says(seen):
    assert round(seen["parameters"] / 1e6, 2) == 0.36


def test_a_pipeline_answers_with_nothing_but_what_the_folder_says(seen):
    assert len(seen["said"]["generated_text"]) <= 64


def test_an_architecture_that_does_not_work_is_refused():
    with pytest.raises(UserMistake, match="must hold a newline"):
        Architecture(alphabet="01")
    with pytest.raises(UserMistake, match="every character once"):
        Architecture(alphabet="00\n")
    with pytest.raises(UserMistake, match="does not split into 5 heads"):
        Architecture(heads=5)
