"""When a loop is no longer well: what is compared with what, and what warn, stop and back do to the course of a loop."""

import pytest

from flows.ceiling import Audited, ceiling, right_among_accepted
from flows.cli.status import health_lines
from flows.health import condemned, false_positive_share, length_drift, lost_share, pass_at_k_drop
from flows.refs import code_behind, limits, run_identity
from flows.resolving import resolve
from flows.star import improve
from tests.plain_loop import plain_loop

SMALL = {
    "engine": "scripted:tests.answers:half",
    "problems": "addition:1-2",
    "problems_per_iteration": 20,
    "iterations": 4,
    "samples": 4,
    "cell_rows": 20,
    "zpd": "off",
    "model.corpus_documents": 40,
    "evaluation.dev_problems": 40,
    "evaluation.test_problems": 10,
}
"""With this script every model is right by chance, each on other problems: about half of what one solved the next one loses."""


def looped(folder, **settings):
    """A loop gone through with these settings."""
    with plain_loop(resolve("star", "addition-quick", SMALL | settings), folder) as loop:
        improve(loop)
        return loop


def last_tested(loop) -> int:
    """The iteration of the model that was tested last."""
    return loop.steps("answer test")[-1].iteration


@pytest.fixture(scope="module")
def warned(tmp_path_factory):
    return looped(tmp_path_factory.mktemp("warned"))


def test_a_loop_that_is_only_warned_goes_on_to_its_end(warned):
    assert [one["iteration"] for one in warned.closed] == [0, 1, 2, 3, 4]
    assert last_tested(warned) == 4
    (sign,) = [one for one in warned.closed[1]["health"]["signs"] if one["check"] == "lost_share"]
    assert sign["action"] == "warn"
    assert sign["value"] == pytest.approx(warned.closed[1]["health"]["lost_share"], abs=1e-6)
    assert any("are lost (the limit is 0.2)" in said for said in warned.listener.heard)


def test_every_iteration_says_how_its_attempts_and_its_dev_answers_are(warned):
    for one in warned.closed[1:]:
        health = one["health"]
        assert len(health["pass_at"]) == 4
        assert health["pass_at"] == sorted(health["pass_at"])
        assert health["pass_at"][0] == pytest.approx(one["train_accuracy"])
        assert health["train_dev_gap"] == pytest.approx(
            one["train_accuracy"] - warned.closed[one["iteration"] - 1]["held_out_accuracy"]
        )
        assert health["dev_changes"]["shared"] == 40
        assert health["undecided_share"] == 0
        assert health["mean_tokens"] > 0
    first = warned.closed[1]["health"]
    assert (first["gap"], first["length_drift"], first["pass_at_k_drop"]) == (0, 0, 0)


def test_the_audits_verdicts_tell_how_much_of_what_passed_is_unsound(warned):
    """The script puts a first digit of its own before a worked sum, so most of what is right has a wrong step."""
    found = warned.closed[1]["health"]
    assert found["unsound"].keys() == {"sampled", "rationalized"}
    assert found["unsound"]["sampled"]["judged"] == warned.closed[1]["correct"]
    assert found["false_positive_share"] > 0.5


def test_fresh_problems_are_not_compared_and_the_same_ones_are(warned, tmp_path):
    assert warned.closed[2]["health"]["train_changes"] is None
    again = looped(tmp_path, iterations=2, fresh_problems=False)
    changes = again.closed[2]["health"]["train_changes"]
    assert changes["shared"] == len({row.problem_id for row in again.problems(1)})
    assert again.closed[1]["health"]["train_changes"] is None


def test_a_stop_ends_the_loop_there_and_the_model_is_tested(tmp_path):
    loop = looped(tmp_path, **{"health.on_lost_share": "stop"})
    assert [one["iteration"] for one in loop.closed] == [0, 1]
    assert last_tested(loop) == 1


def test_off_says_nothing(tmp_path):
    off = dict.fromkeys((f"health.on_{name}" for name in limits(resolve("star", None, {}).health)), "off")
    loop = looped(tmp_path, iterations=1, **off)
    assert loop.closed[1]["health"]["signs"] == []
    assert not any("limit is" in said for said in loop.listener.heard)


def test_back_starts_the_next_iteration_at_the_last_good_model_and_gives_up_when_it_goes_wrong_again(tmp_path):
    loop = looped(tmp_path, restart="previous", **{"health.on_lost_share": "back"})
    base = loop.steps("pre-train")[0].output.facts["checkpoint_id"]
    assert [one["iteration"] for one in loop.closed] == [0, 1, 2]
    assert [one["health"]["back_to"] for one in loop.closed[1:]] == [0, 0]
    assert [one.call["base_checkpoint_id"] for one in loop.steps("fine-tune")] == [base, base]
    assert {row.checkpoint_id for row in loop.attempts("sample", 2)} == {base}
    assert last_tested(loop) == 0
    assert "iteration 0 is the last good one" in " ".join(loop.listener.heard)


def test_what_a_bad_iteration_gathered_is_not_pooled_later(tmp_path):
    loop = looped(tmp_path, iterations=2, pool="all", **{"health.on_lost_share": "back"})
    (mixed,) = loop.steps("mix", 2)
    written = {row.attempt_id for row in loop.attempts("sample", 2) + loop.attempts("rationalize", 2)}
    pooled = {one.attempts.shards for one in mixed.call["judged"]}
    assert pooled == {one.output.manifests["attempts"].shards for one in loop.steps("sample", 2)}
    assert written


def test_what_attempts_show_is_on_their_writer_too_and_a_base_is_never_bad():
    assert condemned(3, 2, ["lost_share"]) == {3}
    assert condemned(3, 2, ["false_positive_share"]) == {3}
    assert condemned(3, 2, ["lost_share", "gap"]) == {2, 3}
    assert condemned(1, 0, ["length_drift"]) == {1}


def test_pass_at_k_is_compared_at_the_largest_k_that_both_have():
    assert pass_at_k_drop([0.5, 0.7, 0.8], [0.6, 0.65]) == pytest.approx(0.05)
    assert pass_at_k_drop([0.5], [0.1]) is None


def test_lengths_are_compared_in_tokens_where_both_are_counted():
    first = {"mean_tokens": 20.0, "mean_characters": 80.0}
    assert length_drift(first, {"mean_tokens": 30.0, "mean_characters": 80.0}) == pytest.approx(0.5)
    assert length_drift(first, {"mean_tokens": None, "mean_characters": 60.0}) == pytest.approx(0.25)
    assert length_drift({"mean_tokens": None, "mean_characters": None}, first) is None


def test_shares_are_of_what_could_be_lost_and_of_what_was_audited():
    assert lost_share({"shared": 9, "solved_before": 4, "gained": 3, "lost": 1}) == 0.25
    assert lost_share({"shared": 9, "solved_before": 0, "gained": 3, "lost": 0}) is None
    unsound = {"sampled": {"judged": 6, "wrong": 1}, "rationalized": {"judged": 4, "wrong": 3}}
    assert false_positive_share(unsound) == 0.4
    assert false_positive_share({}) is None


def test_the_ceiling_is_the_share_of_right_ones_among_what_is_accepted():
    """Of 1,000 attempts 400 are right; 5 % of the wrong pass (30), 10 % of the right fail (40): 360 of 390 accepted ones are right."""
    accepted = (360 + 30) / 1000
    assert right_among_accepted(accepted, 0.05, 0.1) == pytest.approx(360 / 390)
    found = ceiling(accepted, Audited(false_accepts=5, wrong=100, false_rejects=10, right=100))
    assert found is not None
    assert found.accuracy == pytest.approx(360 / 390)
    assert found.measured == pytest.approx(0.9)
    assert found.worst < found.accuracy


def test_a_verifier_without_errors_puts_no_ceiling_but_few_cases_leave_one_open():
    found = ceiling(0.5, Audited(0, 40, 0, 40))
    assert found is not None
    assert (found.accuracy, found.measured) == (1, 1)
    assert 0.8 < found.worst < 1


def test_a_verifier_that_tells_nothing_apart_has_no_ceiling():
    assert ceiling(0.5, Audited(60, 100, 40, 100)) is None
    assert ceiling(0.5, Audited(0, 0, 1, 10)) is None
    assert ceiling(0.0, Audited(1, 10, 1, 10)) is None


def test_the_verifiers_ceiling_is_in_every_iteration_of_a_verifier_with_a_table(warned):
    found = warned.closed[1]["health"]["ceiling"]
    assert found["cases"] > 50
    assert found["accepted"] == pytest.approx(warned.closed[1]["train_accuracy"], abs=1e-6)
    assert len(warned.steps("audit verifier")) == 1


def test_limits_change_no_run_and_going_back_does():
    def identity(**settings: object) -> str:
        config = resolve("star", "addition-smoke", settings)
        return run_identity("star", config, code_behind(config))

    assert identity(**{"health.gap": 0.5, "health.on_gap": "stop"}) == identity()
    assert (
        len(
            {
                identity(),
                identity(**{"health.on_gap": "back"}),
                identity(**{"health.on_gap": "back", "health.gap": 0.5}),
            }
        )
        == 3
    )


def test_a_status_says_the_last_figures_and_every_limit_that_was_passed(warned):
    first, *passed = health_lines(warned.closed)
    assert first.startswith("health, iteration 4: pass@1 ")
    assert "pass@4" in first
    assert any(line.startswith("  iteration 1: ") and line.endswith("(warn)") for line in passed)
