"""ReST and ReST-EM on a script: what is sampled, kept and trained on, and from which weights."""

from collections import Counter

import pytest

from flows.course import best
from flows.resolving import resolve
from storage.errors import UserMistake
from storage.records import Verdict
from tests.plain_loop import plain_loop

SMALL = {
    "engine": "scripted:tests.answers:half",
    "problems": "addition:1-2",
    "problems_per_iteration": 12,
    "iterations": 2,
    "cell_rows": 12,
    "zpd": "off",
    "model.corpus_documents": 40,
    "evaluation.dev_problems": 10,
    "evaluation.test_problems": 10,
}


@pytest.fixture(scope="module")
def em(tmp_path_factory):
    from flows.rest_em import improve

    config = resolve("rest_em", "addition-rest-em", SMALL | {"samples": 6, "mix.cap_per_problem": 2})
    with plain_loop(config, tmp_path_factory.mktemp("em")) as loop:
        improve(loop)
        yield loop


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    from flows.rest import improve

    config = resolve(
        "rest", "addition-rest", SMALL | {"samples": 2, "thresholds": [0.1, 0.6, 0.99], "mix.self_share": 0.5}
    )
    with plain_loop(config, tmp_path_factory.mktemp("rest")) as loop:
        improve(loop)
        yield loop


def test_the_e_step_samples_every_problem_as_often_as_asked_and_never_with_a_hint(em):
    for n in (1, 2):
        asked = Counter(row.problem_id for row in em.attempts("sample", n))
        assert len(asked) == 12
        assert set(asked.values()) == {6}
        assert not any("?" in prompt for prompt in em.prompts("sample", n))
    assert not em.steps("rationalize")


def test_the_same_problems_come_again_in_every_e_step(em):
    assert em.problems(1) == em.problems(2)


def test_only_right_answers_are_kept_and_at_most_so_many_of_a_problem(em):
    for n in (1, 2):
        problems = {row.question: row for row in em.problems(n)}
        members = em.trained_on(n)
        assert members
        assert {role for _, role in members} == {"sampled"}
        kept = Counter(example.prompt for example, _ in members)
        assert max(kept.values()) == 2
        for example, _ in members:
            problem = problems[example.prompt.rstrip("=")]
            assert int(example.completion.rpartition("A")[2]) == int(problem.gold)


def test_every_m_step_trains_the_base(em):
    base = em.steps("pre-train")[0].output.facts["checkpoint_id"]
    assert [one.call["base_checkpoint_id"] for one in em.steps("fine-tune")] == [base, base]


def test_the_second_e_step_asks_the_model_of_the_first_m_step(em):
    (first,) = em.steps("fine-tune", 1)
    assert {row.checkpoint_id for row in em.attempts("sample", 2)} == {first.output.facts["checkpoint_id"]}


def test_the_model_that_did_best_on_dev_is_the_one_that_is_tested(em):
    chosen = best(em.closed)
    tested = em.steps("answer test")[-1]
    assert tested.iteration == chosen
    assert tested.call["checkpoint_id"] == em.closed[chosen]["checkpoint_id"]


def test_of_equal_dev_scores_the_last_is_best_and_an_undecided_one_never():
    curve = [{"held_out_accuracy": score} for score in (0.5, 0.7, 0.7, None)]
    assert best(curve) == 2


def test_one_set_of_samples_serves_all_improve_steps_of_a_grow(grown):
    assert Counter(one.iteration for one in grown.steps("sample")) == {1: 1, 2: 1}
    assert [len(grown.steps(f"mix {place}")) for place in (1, 2, 3)] == [2, 2, 2]


def test_thresholds_rise_so_each_improve_step_keeps_a_part_of_the_one_before(grown):
    for n in (1, 2):
        kept = [
            {example.example_id for example, role in grown.trained_on(n, f"mix {place}") if role == "sampled"}
            for place in (1, 2, 3)
        ]
        assert kept[0] >= kept[1] >= kept[2]
        assert [step["kept"] for step in grown.closed[n]["improve_steps"]] == [len(one) for one in kept]


def test_what_is_kept_has_a_reward_above_the_threshold(grown):
    (rewarded,) = grown.steps("reward", 1)
    scores = {
        row.attempt_id: row.score for row in grown.runtime.shards.read(rewarded.output.manifests["verdicts"], Verdict)
    }
    texts = {row.attempt_id: row.text for row in grown.attempts("sample", 1)}
    for place, above in enumerate((0.1, 0.6, 0.99), start=1):
        wanted = {texts[attempt] for attempt, score in scores.items() if score is not None and score > above}
        assert {
            example.completion for example, role in grown.trained_on(1, f"mix {place}") if role == "sampled"
        } == wanted


def test_improve_steps_go_on_from_each_other_with_a_falling_learning_rate(grown):
    trained = [grown.steps(f"fine-tune {place}", 1)[0] for place in (1, 2, 3)]
    starts = [one.call["base_checkpoint_id"] for one in trained]
    assert starts[1:] == [one.output.facts["checkpoint_id"] for one in trained[:2]]
    rates = [one.call["recipe"].learning_rate for one in trained]
    assert rates == pytest.approx([1e-4, 0.7e-4, 0.49e-4])


def test_original_data_is_in_every_mix(grown):
    for n in (1, 2):
        for place in (1, 2, 3):
            assert "original" in {role for _, role in grown.trained_on(n, f"mix {place}")}


def test_thresholds_that_do_not_rise_are_a_mistake():
    with pytest.raises(UserMistake, match=r"thresholds = \[0.5, 0.5\] do not rise"):
        resolve("rest", "addition-rest", {"thresholds": [0.5, 0.5]})


def test_a_share_of_one_or_more_is_no_quantile():
    with pytest.raises(UserMistake, match="at least 0 and below 1"):
        resolve("rest", "addition-rest", {"thresholds": [0.5, 1.5], "threshold_kind": "quantile"})
