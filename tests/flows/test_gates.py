"""Each gate at its limit: what passes, what refuses, and by how much it says so."""

from dataclasses import replace

import pytest

from flows.gates import GATES, Evidence, Limits, refusal, rule
from storage.evidence import Looks, Met, Paired
from storage.significance import mcnemar

BETTER = Paired(n=1000, gained=60, lost=20, undecided=3, accuracy=0.84, other_accuracy=0.80)
SAME = Paired(n=200, gained=3, lost=3, undecided=0, accuracy=0.5, other_accuracy=0.5)
SOUND = Evidence(
    against="version 3 (ckp_12345678)", test=BETTER, sets={"sums": SAME}, looks=Looks(4, 3), mixes=2, evaluations=2, files=7, same=10,
    asked=10,
)  # fmt: skip
LIMITS = Limits()


def ruling(gate: str, evidence: Evidence, limits: Limits = LIMITS):
    return next(one for one in rule(evidence, limits) if one.gate == gate)


def test_sound_evidence_passes_every_gate():
    assert [one.gate for one in rule(SOUND, LIMITS)] == [gate.__name__ for gate in GATES]
    assert refusal(rule(SOUND, LIMITS)) == ""


@pytest.mark.parametrize(
    ("gate", "change", "said"),
    [
        (
            "significance",
            {"test": replace(BETTER, gained=15, lost=6)},
            "p = 0.0784 is above 0.05 by 0.0284: 15 gained and 6 lost of 1,000",
        ),
        ("significance", {"test": replace(BETTER, gained=5, lost=60)}, "no better: 5 gained and 60 lost"),
        ("significance", {"test": replace(BETTER, gained=0, lost=0)}, "no better: 0 gained and 0 lost of 1,000 items"),
        ("significance", {"test": None, "uncompared": "nobody to compare with"}, "nobody to compare with"),
        ("significance", {"test": Paired(0, 0, 0, 9, 0, 0)}, "no test item was decided for both"),
        (
            "effect",
            {"test": replace(BETTER, accuracy=0.805)},
            "+0.5 points (80.0% → 80.5%) is 0.5 points short of +1.0 points",
        ),
        (
            "regression",
            {"sets": {"sums": replace(SAME, accuracy=0.45)}},
            "sums: -5.0 points, 3.0 points beyond the allowed -2.0 points",
        ),
        (
            "regression",
            {"sets": {"sums": replace(SAME, gained=1, lost=9, accuracy=0.49)}},
            "sums: -1.0 points, significant at p = 0.021",
        ),
        (
            "contamination",
            {"met": (Met("ab" * 16, "cd" * 16, 12, 3, "exact"),)},
            "12 examples of mix_abababab meet 3 evaluated problems",
        ),
        (
            "verdicts",
            {"tainted_examples": 2, "tainted_items": 1},
            "2 training examples and 1 evaluated items stand on overturned",
        ),
        ("digest", {"digest_fault": "it lacks config.json"}, "it lacks config.json"),
        (
            "answers",
            {"same": 9, "first_difference": "'1+1=' was answered '2' and is now '3'"},
            "9 of 10 recorded greedy answers",
        ),
        ("answers", {"unloaded": "OSError: no such file"}, "it does not load from MLflow (OSError: no such file)"),
        ("answers", {"same": 0, "asked": 0}, "no greedy answer is recorded"),
    ],
)
def test_a_gate_refuses_alone_and_says_by_how_much(gate, change, said):
    rulings = rule(replace(SOUND, **change), LIMITS)
    refused = [one for one in rulings if not one.passed]
    nobody = "test" in change and (change["test"] is None or change["test"].n == 0)
    expected = {"significance", "effect"} if nobody else {gate}
    assert {one.gate for one in refused} == expected
    assert said in refused[0].said
    assert refusal(rulings).startswith(f"{refused[0].gate}: {said[:20]}")


def test_limits_are_inclusive():
    p = mcnemar(60, 20)
    assert ruling("significance", SOUND, replace(LIMITS, alpha=p)).passed
    assert not ruling("significance", SOUND, replace(LIMITS, alpha=p * 0.999)).passed
    assert ruling("effect", SOUND, replace(LIMITS, min_effect=0.84 - 0.80)).passed
    assert ruling("regression", replace(SOUND, sets={"a": replace(SAME, accuracy=0.48)}), LIMITS).passed


def test_the_looks_at_the_test_split_are_among_the_figures():
    figures = ruling("significance", SOUND).figures
    assert (figures["test_looks"], figures["checkpoints_looked_at"], figures["gained"], figures["lost"]) == (
        4,
        3,
        60,
        20,
    )


def test_without_anybody_to_compare_with_the_named_sets_are_not_passed_either():
    alone = replace(SOUND, test=None, sets={}, uncompared="version 7 was made elsewhere")
    assert [one.gate for one in rule(alone, LIMITS) if not one.passed] == ["significance", "effect", "regression"]
