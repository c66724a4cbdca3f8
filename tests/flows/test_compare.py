"""Methods compared at equal tokens: what a budget does to a loop, what cannot be compared, and one small comparison for real."""

import json

import pytest

from flows.allowance import LEAST, Allowance
from flows.cli.main import call
from flows.contenders import contenders
from flows.held_out import Answered
from flows.resolving import methods_of, presets, resolve
from flows.star import improve
from storage.errors import UserMistake
from storage.home import Home
from storage.lineage import Lineage
from storage.manifest import Accounting, Manifest, Output
from tasks.caching import StepRecord
from tests.plain_loop import plain_loop

METHODS = ("star", "rest_em")
SMALL = {
    "engine": "scripted:tests.answers:half",
    "problems_per_iteration": 40,
    "iterations": 6,
    "cell_rows": 40,
    "model.corpus_documents": 40,
    "evaluation.dev_problems": 30,
    "evaluation.test_problems": 10,
}


def looped(folder, tokens: int | str, **settings: object):
    config = resolve("star", "addition-compare", SMALL | settings | {"stop.iteration_tokens": tokens})
    with plain_loop(config, folder) as loop:
        improve(loop)
        return loop


def asked(loop) -> list[int]:
    """How many problems each iteration posed."""
    return [one.call["count"] for one in loop.steps("problems")]


def generated(loop) -> int:
    """The tokens of everything that was written to be trained on."""
    return sum(row.tokens for title in ("sample", "rationalize") for row in loop.attempts(title))


def test_a_budget_ends_the_loop_at_so_many_tokens_of_its_iterations_and_the_last_one_asks_fewer_problems(tmp_path):
    loop = looped(tmp_path, 3000)
    first, *_, last = asked(loop)
    assert first == 40
    assert 0 < last < 40
    assert generated(loop) == sum(one["iteration_tokens"] for one in loop.closed[1:])
    assert generated(loop) == pytest.approx(3000, rel=0.15)
    assert loop.steps("answer test")[-1].call["checkpoint_id"] == max(
        loop.closed, key=lambda one: (one["held_out_accuracy"], one["iteration"])
    )["checkpoint_id"]  # fmt: skip


def test_dev_test_and_the_base_do_not_count(tmp_path):
    few = looped(tmp_path / "few", 2500, **{"evaluation.dev_problems": 10})
    many = looped(tmp_path / "many", 2500, **{"evaluation.dev_problems": 90})
    assert len(few.closed) == len(many.closed)
    assert many.tokens - few.tokens > 1000


def test_without_a_budget_the_iterations_are_those_of_the_setting(tmp_path):
    assert asked(looped(tmp_path, "none", iterations=2)) == [40, 40]


def allowance(tokens: int, limit: int) -> Allowance:
    """Of a loop of 100 problems and two samples whose ten dev answers took so many tokens together."""
    answers = Output({}, Accounting(10, ok=10), {"tokens": tokens})
    dev = Answered([Manifest("problem", ("s",), 10)], [StepRecord(answers, "sample", "k", {}, "", 0, 0)], [])
    settings = {"problems_per_iteration": 100, "samples": 2, "stop.iteration_tokens": limit}
    return Allowance(resolve("star", "addition-compare", settings), dev)


def test_the_first_iteration_is_sized_by_dev_and_the_others_by_the_one_before():
    left = allowance(tokens=200, limit=2000)  # 20 a dev answer, so 40 a problem
    assert left.problems() == 50
    left.spend(1500, 50)  # 30 a problem
    assert left.problems() == 17
    left.spend(400, 17)
    assert left.problems() == 0  # 100 tokens are left for some four problems, less than a tenth of an iteration
    assert LEAST == 0.1


def test_an_engine_that_counts_nothing_has_no_budget_to_spend():
    left = allowance(tokens=0, limit=2000)
    assert left.problems() == 100
    left.spend(0, 100)
    assert left.problems() == 100


@pytest.mark.parametrize(
    ("methods", "preset", "settings", "says"),
    [
        (("star", "stra"), "addition-compare", {}, "no method 'stra'; those that can be compared are: "),
        (("star", "self_instruct"), "addition-compare", {}, "self_instruct cannot be compared by accuracy: it makes its own"),
        (("star",), "addition-compare", {}, "two methods or more, each named once; given: star"),
        (("star", "star"), "addition-compare", {}, "each named once; given: star, star"),
        (METHODS, None, {}, "needs a preset with settings for star, rest_em; presets for these methods: addition-compare"),
        (METHODS, "addition-quick", {}, r"is for star and says nothing for rest_em: give it a table \[methods.rest_em\]"),
        (METHODS, "nothing", {}, "no preset 'nothing'; presets for these methods: addition-compare"),
        (METHODS, "addition-compare", {"methods.gsr.samples": 2}, "for none of the methods that are compared: star, rest_em"),
        (METHODS, "addition-compare", {"methods.rest_em.problems": "addition:1-2"}, "problems is not the same for star and rest_em"),
        (METHODS, "addition-compare", {"methods.rest_em.model.layers": 1}, "model is not the same for star and rest_em"),
        (METHODS, "addition-compare", {"methods.star.verifier": "sum_steps"}, "verifier is not the same for star and rest_em"),
        (METHODS, "addition-compare", {"samplez": 2}, "no setting 'samplez'"),
        (METHODS, "addition-compare", {"problems": "additoin"}, "no problem set 'additoin'"),
        (("star", "gsr"), "addition-compare", {"methods.gsr.samples": 1}, "GSR makes one answer of two or more candidates"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_said_before_anything_runs(methods, preset, settings, says):
    with pytest.raises(UserMistake, match=says):
        contenders(methods, preset, 1000, 2, settings)


def test_a_problem_set_without_gold_answers_has_nothing_to_hint_with(tmp_path):
    path = tmp_path / "open.jsonl"
    path.write_text("\n".join(json.dumps({"question": f"Name {n}."}) for n in range(50)))
    with pytest.raises(UserMistake, match="gold"):
        contenders(METHODS, "addition-compare", 1000, 1, {"problems": f"jsonl:{path},question=question"})


def test_every_method_gets_each_seed_its_own_settings_and_the_same_budget():
    found = contenders(METHODS, "addition-compare", 1234, 2, {"methods.rest_em.samples": 6, "iterations": 3})
    assert [one.name for one in found] == ["star, seed 0", "rest_em, seed 0", "star, seed 1", "rest_em, seed 1"]
    assert [(one.config.seed, one.config.samples) for one in found] == [(0, 1), (0, 6), (1, 1), (1, 6)]
    assert {one.config.stop.iteration_tokens for one in found} == {1234}
    assert {one.config.iterations for one in found} == {3}


def test_one_preset_serves_each_method_that_it_has_a_table_for():
    assert methods_of(presets()["addition-compare"]) == ("star", "rest_em", "gsr")
    for method in methods_of(presets()["addition-compare"]):
        assert resolve(method, "addition-compare", {}).problems == "addition:1-5,refine=4"
    with pytest.raises(UserMistake, match="preset 'addition-compare' is for star, rest_em, gsr, not for rest"):
        resolve("rest", "addition-compare", {})


def test_a_mistake_on_the_command_line_is_one_sentence_and_makes_no_home(tmp_path, capsys):
    words = [
        "compare",
        "--methods",
        "star,stra",
        "--preset",
        "addition-compare",
        "--budget-tokens",
        "10",
        "--home",
        str(tmp_path / "home"),
    ]
    assert call(words) == 2
    assert capsys.readouterr().err.startswith("starloop: no method 'stra'; those that can be compared are: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_comparison_is_a_run_with_its_loops_its_table_and_its_children_in_mlflow(starloop, tmp_path):
    home, tokens = tmp_path / "home", 2500
    changes = SMALL | {
        "problems": "addition:1-2", "methods.rest_em.problems_per_iteration": 10, "problems_per_iteration": 40, "iterations": 3,
        "model.layers": 1, "model.pretraining.steps": 3, "training.steps": 2, "evaluation.test_problems": 40,
    }  # fmt: skip
    command = [
        "compare", "--methods", ",".join(METHODS), "--preset", "addition-compare", "--budget-tokens", str(tokens), "--seeds", "2",
        "--json", *(part for name, value in changes.items() for part in ("--set", f"{name}={json.dumps(value)}")),
    ]  # fmt: skip
    done = starloop(*command, home=home)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one["method"] for one in found["methods"]] == list(METHODS)
    for method in found["methods"]:
        assert [line["seed"] for line in method["loops"]] == [0, 1]
        assert all(line["state"] == "completed" for line in method["loops"])
        for line in method["loops"]:
            assert line["tokens"] == pytest.approx(tokens, rel=0.3)
            assert line["all_tokens"] > line["tokens"]
        assert method["test"]["low"] <= method["test"]["accuracy"] <= method["test"]["high"]
        assert method["test"]["accuracy"] == pytest.approx(sum(method["test"]["seeds"]) / 2)
        assert method["curve"][0]["tokens"] == 0
    assert [(one["first"], one["other"]) for one in found["pairs"]] == [
        ("star", "the base"), ("rest_em", "the base"), ("rest_em", "star")
    ]  # fmt: skip
    with Lineage.open(Home(home), fresh=True) as lineage:
        group = lineage.run(found["run_id"])
        assert (group.method, group.state) == ("compare", "completed")
        assert [run.name for run in lineage.arms(group.run_id)] == [
            "star, seed 0",
            "rest_em, seed 0",
            "star, seed 1",
            "rest_em, seed 1",
        ]
        assert group.facts["comparison"]["methods"] == found["methods"]
        bases = {lineage.iterations(run.run_id)[0].checkpoint_id for run in lineage.arms(group.run_id)}
        assert len(bases) == 1
    page = (home / "reports" / f"{found['run_id']}.html").read_text()
    assert "At equal tokens" in page
    assert "Is the loop well?" in page
    assert children_in_mlflow(home, found["run_id"]) == {
        "star, seed 0",
        "rest_em, seed 0",
        "star, seed 1",
        "rest_em, seed 1",
    }

    again = starloop("resume", f"run_{found['run_id']}", home=home)
    assert again.returncode == 0, again.stderr
    with Lineage.open(Home(home), fresh=True) as lineage:
        for run in lineage.arms(found["run_id"]):
            assert sum(step["tasks_run"] for step in run.facts["steps"]) == 0


def children_in_mlflow(home, run_id: str) -> set[str]:
    """The names of the children of a comparison's run."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiments = [one.experiment_id for one in client.search_experiments()]
    (parent,) = client.search_runs(experiments, f"tags.`starloop.id` = '{run_id}'")
    assert parent.data.metrics["accuracy_star"] >= 0
    children = client.search_runs(experiments, f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    return {child.info.run_name for child in children}
