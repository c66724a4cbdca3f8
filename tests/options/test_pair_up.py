"""Right answers against wrong ones: who is paired with whom, and what is said of it."""

from dataclasses import replace
from itertools import product

import pytest

from storage.errors import UserMistake
from storage.manifest import Accounting
from storage.records import Attempt, Example, ExampleEvidence, MixMember, Verdict
from tasks.pair_up import PairRule, pair_up, paired
from tasks.training.pairs import read_pairs
from tests.options.conftest import rows


def test_every_pair_comes_once_and_both_sides_are_gone_through_at_once():
    assert paired("ab", "xyz", 4) == [("a", "x"), ("b", "y"), ("a", "z"), ("b", "x")]
    assert paired("abc", "xyz", 4) == [("a", "x"), ("b", "y"), ("c", "z"), ("a", "y")]
    for right, wrong in (("ab", "wxyz"), ("abc", "xyz"), ("abcd", "uvwxyz"), ("a", "xyz")):
        pairs = paired(right, wrong, 0)
        assert sorted(pairs) == sorted(product(right, wrong))
        used = pairs[: max(len(right), len(wrong))]
        assert {one for one, _ in used} == set(right)
        assert {one for _, one in used} == set(wrong)
    assert paired("", "xyz", 3) == paired("abc", "", 3) == []


def test_right_answers_are_chosen_over_wrong_ones_of_the_same_problem(runtime, problems, answer):
    judged = answer(problems, {"1+1": ["2", "3"], "2+2": ["4", "5", "6"], "3+3": "6", "*": "wrong"}, samples=12)
    output = pair_up.function((judged,), "plain", PairRule(), runtime)
    examples = {one.example_id: one for one in rows(runtime, output, "examples", Example)}
    members = rows(runtime, output, "members", MixMember)
    pairs = {}
    for member in members:
        pairs.setdefault(member.pair, {})[member.role] = examples[member.example_id]
    said = sorted((pair["chosen"].completion, pair["rejected"].completion) for pair in pairs.values())
    assert said == [("2", "3"), ("4", "5"), ("4", "6")]
    assert all(pair["chosen"].prompt == pair["rejected"].prompt for pair in pairs.values())
    assert [member.position for member in members] == list(range(6))
    assert (output.facts["pairs"], output.facts["paired_problems"]) == (3, 2)
    attempts = rows(runtime, output, "examples", Example)
    assert len(attempts) == 5
    outcome = {one.verdict_id: one.passed for one in runtime.shards.read(judged.verdicts, Verdict)}
    chosen = {member.example_id for member in members if member.role == "chosen"}
    evidence = rows(runtime, output, "evidence", ExampleEvidence)
    assert all(outcome[one.verdict_id] == (one.example_id in chosen) for one in evidence)
    # 24 attempts at the two problems answered both ways, each a side of some pair; 36 at problems answered one way
    assert output.accounting == Accounting(asked=60, ok=24, rejected=36)


def test_a_training_reads_the_pairs_as_they_were_made(runtime, problems, answer):
    judged = answer(problems, {"1+1": ["2", "3"], "2+2": ["4", "5", "6"], "*": "wrong"}, samples=12)
    output = pair_up.function((judged,), "plain", PairRule(per_problem=1), runtime)
    paths = [
        [str(runtime.shards.path(manifest.table, shard)) for shard in manifest.shards]
        for manifest in (output.manifests["examples"], output.manifests["members"])
    ]
    pairs = read_pairs(*paths)
    assert sorted(pair.chosen.completion for pair in pairs) == ["2", "4"]
    assert {pair.rejected.completion for pair in pairs} <= {"3", "5", "6"}


def test_pairs_are_named_by_content_and_shuffled_by_seed(runtime, problems, answer):
    judged = answer(
        problems, {one: ["2", "4", "6", "8", "10"] for one in ("1+1", "2+2", "3+3", "4+4", "5+5")}, samples=12
    )
    first, again, other = (pair_up.function((judged,), "plain", PairRule(seed=seed), runtime) for seed in (0, 0, 1))
    assert first == again
    assert first.facts["mix_id"] != other.facts["mix_id"]
    assert first.facts["pairs"] == other.facts["pairs"] > 5


def test_an_answer_that_was_cut_off_or_is_empty_is_no_side(runtime, problems, answer):
    judged = answer(problems, {"1+1": ["2", "3"], "2+2": ["4", ""], "*": "wrong"}, samples=12)
    whole = pair_up.function((judged,), "plain", PairRule(), runtime)
    assert whole.facts["pairs"] == 1
    cut = [
        replace(one, finish_reason="length") if one.text == "3" else one
        for one in runtime.shards.read(judged.attempts, Attempt)
    ]
    with pytest.raises(UserMistake, match=r"no problem has a right and a wrong answer to pair.*cut off.*raise samples"):
        pair_up.function(
            (replace(judged, attempts=runtime.shards.write("attempt", cut)),), "plain", PairRule(), runtime
        )


def test_a_wrong_rationalization_is_not_rejected_and_a_right_one_is_chosen(runtime, problems, answer):
    direct = answer(problems, {"*": "wrong"})
    hinted = replace(answer(problems, {"1+1": "2", "2+2": "nonsense", "*": "?"}), origin="rationalized")
    output = pair_up.function((direct, hinted), "plain", PairRule(), runtime)
    completions = sorted(one.completion for one in rows(runtime, output, "examples", Example))
    assert completions == ["2", "wrong"]
    assert {one.origin for one in rows(runtime, output, "evidence", ExampleEvidence)} == {"sampled", "rationalized"}


def test_a_text_that_was_judged_both_ways_is_on_neither_side(runtime, problems, answer):
    judged = answer(problems, {"1+1": ["2", "3"], "*": "wrong"}, samples=12)
    attempts = runtime.shards.read(judged.attempts, Attempt)
    twice = replace(
        judged,
        verdicts=runtime.shards.write(
            "verdict",
            [Verdict.of(one.attempt_id, "moody", "f" * 32, one.text == "2", answer=one.text) for one in attempts],
        ),
    )
    other = replace(
        judged,
        verdicts=runtime.shards.write(
            "verdict",
            [Verdict.of(one.attempt_id, "moody", "f" * 32, one.text == "3", answer=one.text) for one in attempts],
        ),
    )
    with pytest.raises(UserMistake, match="no problem has a right and a wrong answer"):
        pair_up.function((twice, other), "plain", PairRule(), runtime)
