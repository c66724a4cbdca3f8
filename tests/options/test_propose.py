"""New problems from a model: what it is asked, what is admitted, and where the gold answer is from."""

import pytest

from storage.manifest import Accounting
from storage.records import Attempt, Problem, Prompt, Verdict
from tasks.engines.protocol import Sampling
from tasks.pose import pose
from tasks.problems.registry import load
from tasks.propose import admit, propose, question_of
from tasks.settle import Election, elected, settle
from tests.options.conftest import CHECKPOINT, rows

HOW = Sampling(temperature=1.0, max_tokens=60)


@pytest.fixture
def proposals(runtime, written):
    """What a model that says these texts proposes beside problems, as an output of `propose`."""

    def make(problems, texts, count=40, shown=2):
        call = written({"*": texts}, template="propose")
        return propose.function(problems=problems, count=count, shown=shown, sampling=HOW, runtime=runtime, **call)

    return make


def test_a_request_shows_problems_and_no_answers(runtime, problems, proposals):
    output = proposals(problems, ["What is 9+9?"], count=6, shown=3)
    prompts = rows(runtime, output, "prompts", Prompt)
    asked = {one.question: one for one in runtime.shards.read(problems, Problem)}
    assert len(prompts) > 1
    for prompt in prompts:
        assert sum(f"Problem: {question}\n" in prompt.text for question in asked) == 3
        assert not any(f"={one.gold}" in prompt.text for one in asked.values())
        assert prompt.text.endswith("Problem:")
    attempts = rows(runtime, output, "attempts", Attempt)
    assert {one.problem_id for one in attempts} <= {one.problem_id for one in asked.values()}
    again = proposals(problems, ["What is 9+9?"], count=6, shown=3)
    assert [one.text for one in rows(runtime, again, "prompts", Prompt)] == [one.text for one in prompts]


def admitted(runtime, attempts, known, source, by_program):
    return admit.function(attempts.manifests["attempts"], known, source, by_program, 2, runtime)


def test_sums_that_are_new_get_their_gold_answer_by_program(runtime, proposals):
    source = "sums:20"
    known = pose.function(source, "train", 0, 4, 2, runtime).manifests["problems"]
    (dev,), (test,) = load(source).take("dev", 0, 1), load(source).take("test", 0, 1)
    turned = "What is {2} + {0}?".format(*dev.question.removeprefix("What is ").removesuffix("?").split())
    texts = [
        turned,
        test.question,
        "What is 90 + 4?",
        "Name a colour.",
        runtime.shards.read(known, Problem)[0].question,
    ]
    output = admitted(runtime, proposals(known, texts), known, source, True)
    reasons = output.facts["reasons"]
    assert output.manifests["problems"].rows == 0
    assert set(reasons) == {"in dev", "in test", "already posed", "no problem of this kind"}
    verdicts = rows(runtime, output, "verdicts", Verdict)
    assert len(verdicts) == output.accounting.asked == 40
    assert {one.reason for one in verdicts} == set(reasons)
    assert not any(one.passed for one in verdicts)


def test_a_set_whose_train_split_ends_takes_nothing_that_is_in_it_already(runtime, proposals):
    source = "sums:20"
    known = pose.function(source, "train", 0, 4, 2, runtime).manifests["problems"]
    later = load(source).take("train", 10, 1)[0].question
    assert admitted(runtime, proposals(known, [later]), known, source, True).facts["reasons"] == {"in train": 40}


def test_new_sums_of_an_endless_set_are_admitted_once_with_their_parents(runtime, proposals):
    source = "addition:2-3"
    known = pose.function(source, "train", 0, 6, 3, runtime).manifests["problems"]
    held_out = {load(source).key(one.question) for split in ("dev", "test") for one in load(source).take(split, 0, 900)}
    fresh = [f"{a}+{b}" for a in range(100, 140) for b in (777, 901) if f"{a:05d}+{b:05d}" not in held_out][:20]
    made = proposals(known, [*fresh, "Problem: 777+100", "12+345", "1000+2000"], count=200)
    output = admitted(runtime, made, known, source, True)
    problems = rows(runtime, output, "problems", Problem)
    attempts = {one.attempt_id: one for one in rows(runtime, made, "attempts", Attempt)}
    keys = [load(source).key(one.question) for one in problems]
    assert len(set(keys)) == len(keys) >= 18
    assert not set(keys) & held_out
    for problem in problems:
        a, b = map(int, problem.question.split("+"))
        assert int(problem.gold) == a + b
        assert (problem.split, problem.source, problem.stratum) == ("train", source, "3 digits")
        assert {a, b} == {int(one) for one in question_of(attempts[problem.source_attempt_id].text).split("+")}
    assert {"proposed twice", "no problem of this kind"} <= set(output.facts["reasons"])
    assert output.accounting.ok == len(problems)


def test_a_question_is_the_first_paragraph_without_its_answer():
    assert question_of("\n\nProblem: Tom has 3 apples.\nHow many are left?\nAnswer: 3\n\nProblem: …") == (
        "Tom has 3 apples.\nHow many are left?"
    )
    assert question_of("**Solution**: 4") == ""
    assert question_of("   ") == ""


def test_what_most_attempts_say_is_the_gold_answer(runtime, problems, source, proposals, answer):
    made = proposals(problems, ["What is 8+8?", "What is 9+1?", "1+1", "What is 7+5?"], count=60)
    output = admitted(runtime, made, problems, source, False)
    new = output.manifests["problems"]
    assert sorted(one.question for one in rows(runtime, output, "problems", Problem)) == [
        "What is 7+5?", "What is 8+8?", "What is 9+1?",
    ]  # fmt: skip
    assert all(one.gold is None for one in rows(runtime, output, "problems", Problem))
    votes = answer(
        new,
        {"What is 8+8?": "The answer is 16.", "What is 9+1?": ["10", "11", "12", "13"], "*": "who knows"},
        samples=12,
    )
    settled = settle.function(new, votes.attempts, "numeric", 0.5, 2, runtime)
    (problem,) = rows(runtime, settled, "problems", Problem)
    assert (problem.question, problem.gold) == ("What is 8+8?", "16")
    assert problem.info == '{"agreeing":12,"gold":"majority","votes":12}'
    assert problem.source_attempt_id in {one.attempt_id for one in rows(runtime, made, "attempts", Attempt)}
    assert settled.accounting == Accounting(asked=3, ok=1, rejected=2)


def test_a_proposed_problem_is_judged_by_its_majority(runtime, problems, source, proposals, answer):
    made = proposals(problems, ["What is 8+8?"], count=2)
    new = admitted(runtime, made, problems, source, False).manifests["problems"]
    votes = answer(new, {"*": "16"}, samples=4)
    (problem,) = rows(runtime, settle.function(new, votes.attempts, "numeric", 0.5, 2, runtime), "problems", Problem)
    judged = answer(runtime.shards.write("problem", [problem]), {"*": ["16", "17"]}, samples=12, verifier="numeric")
    texts = {one.attempt_id: one.text for one in runtime.shards.read(judged.attempts, Attempt)}
    for verdict in runtime.shards.read(judged.verdicts, Verdict):
        assert verdict.passed == (texts[verdict.attempt_id] == "16")


def test_equal_answers_are_counted_together_and_a_tie_decides_nothing():
    assert elected(["7", "7.0", "8"], {"7.0": "7"}) == Election("7", 2, 1)
    assert elected([], {}) is None
    assert not Election("7", 2, 2).decides(4, 0.5)
    assert not Election("7", 3, 1).decides(8, 0.5)
    assert Election("7", 4, 1).decides(8, 0.5)


def test_a_proposal_is_written_by_the_model_of_its_iteration(runtime, problems, proposals):
    output = proposals(problems, ["What is 9+9?"], count=3)
    assert {one.checkpoint_id for one in rows(runtime, output, "attempts", Attempt)} == {CHECKPOINT}
