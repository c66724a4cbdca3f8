import pytest

pytestmark = pytest.mark.slow  # a process that imports the trainer

GOOD = ["12+3=", "A15"]
REFUSED = {
    "too_long": ({"rows": [GOOD, GOOD], "recipe": {"max_length": 8}},
                 "row 0 of the mix (exm_00000000000000000000000000000000) has 9 tokens with its completion, more than max_length 8; "
                 "raise it, or set truncate (1 more rows like it)"),
    "all_cut_off": ({"rows": [GOOD, ["1234567890+1=", "A1"]], "recipe": {"max_length": 9, "truncate": True}},
                    "row 1 of the mix (exm_00000000000000000000000000000001) has no token to learn from: its prompt takes "
                    "13 of max_length 9 tokens"),
    "empty_completion": ({"rows": [GOOD, ["1+1=", ""]]},
                         "row 1 of the mix (exm_00000000000000000000000000000001) has an empty completion after the prompt '1+1='; "
                         "leave it out of the mix"),
    "eos_inside": ({"rows": [["1+1=", "A\n2"]]},
                   "row 0 of the mix (exm_00000000000000000000000000000000) has EOS inside its completion, at token 5; "
                   "sampling would stop there"),
    "unknown_character": ({"rows": [GOOD, ["1+1=", "Ax"]]},
                          "row 1 of the mix (exm_00000000000000000000000000000001) has a character that the base's tokenizer does "
                          "not know, in '1+1=Ax'; leave it out of the mix or take another base"),
    "no_eos": ({"rows": [GOOD], "without_eos": True},
               "the base's tokenizer has no EOS token, so the model could not learn to stop; give it one"),
    "no_rows": ({"rows": []}, "the training set is empty, so there is nothing to train on"),
}  # fmt: skip
PASSED = {
    "plain": {"rows": [GOOD]},
    "own_eos": {"rows": [["12+3=", "A15\n"]]},
    "cut": {"rows": [GOOD], "recipe": {"max_length": 7, "truncate": True}},
    "no_prompt": {"rows": [["", "A15"]]},
}


@pytest.fixture(scope="module")
def answers(processes):
    cases = [case for case, _ in REFUSED.values()] + list(PASSED.values())
    given = processes.call("tests.training.probes:refusals", cases)["answers"]
    return dict(zip([*REFUSED, *PASSED], given, strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_a_row_that_teaches_nothing_or_the_wrong_thing_is_refused(answers, name):
    assert answers[name] == REFUSED[name][1]


def test_loss_is_on_the_completion_and_its_eos_alone(answers):
    [[ids, labels, trained]] = answers["plain"]
    assert ids == [1, 2, 10, 3, 11, 13, 1, 5, 14]
    assert labels == [-100] * 5 + [13, 1, 5, 14]
    assert trained == 4


def test_a_completion_that_ends_in_eos_gets_no_second_one(answers):
    assert answers["own_eos"] == answers["plain"]


def test_a_row_is_cut_only_when_that_is_asked_for(answers):
    [[ids, labels, trained]] = answers["cut"]
    assert (len(ids), labels[5:], trained) == (7, [13, 1], 2)


def test_the_first_token_of_a_row_without_a_prompt_is_not_counted_as_trained(answers):
    [[ids, _, trained]] = answers["no_prompt"]
    assert (len(ids), trained) == (4, 3)
