"""GSR: what one small run asks, keeps and trains on, what its plan says before, and which settings are refused before anything runs."""

import json
import shutil
from collections import Counter
from math import ceil

import pytest

from flows.methods import flow_of, loop_of_method
from flows.plan import plan
from flows.refinement import affordable
from flows.refs import check
from flows.request import GsrRequest
from flows.resolving import resolve
from storage.errors import UserMistake
from storage.home import Home
from storage.lineage import Lineage
from tasks.training.embedded import Architecture
from tests.problems.test_public_sets import DATA, needs_data
from tests.refining import hopeless, refinable
from tests.small_run import status_of

SETTINGS = {
    "problems": "addition:1-2", "problems_per_iteration": 24, "iterations": 2, "samples": 2, "cell_rows": 12,
    "engine": "scripted:tests.refining:reply", "mix.self_share": 1.0, "mix.final_self_share": 1.0, "audit": "none",
    "training.steps": 2, "training.step_schedule": "constant", "training.warmup_steps": 1, "training.max_length": 64,
    "evaluation.dev_problems": 24, "evaluation.test_problems": 12, "zpd": "off",
}  # fmt: skip


@pytest.mark.parametrize("samples", [0, 1])
def test_fewer_than_two_candidates_are_refused_with_what_would_fit(samples):
    with pytest.raises(
        UserMistake, match=f"samples = {samples} gives nothing to refine from.*set samples to 2 or more"
    ):
        resolve("gsr", "addition-gsr", {"samples": samples})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"problems": "addition:1-5"}, "shows no refinement, not of samples = 4; name a set that does, such as addition:1-5,refine=4"),
        ({"samples": 3}, "shows refinements of 4, not of samples = 3; name a set that does, such as addition:1-5,refine=3"),
        ({"model.positions": 64}, "reads 64 characters, and a refinement of 4 candidates has 70; raise model.positions"),
        ({"critique": "text"}, "template set addition has no critique.jinja.*set critique=none"),
    ],
)  # fmt: skip
def test_what_would_fail_after_minutes_is_refused_before_anything_runs(settings, sentence):
    with pytest.raises(UserMistake, match=sentence):
        check(resolve("gsr", "addition-gsr", settings))


def test_the_preset_fits_and_the_flow_is_found_by_its_name():
    config = resolve("gsr", "addition-gsr", {})
    check(config)
    assert Architecture(positions=config.model.positions).positions == 72
    assert (flow_of("gsr").name, loop_of_method("gsr").__module__) == ("gsr", "flows.gsr")
    assert GsrRequest(preset="addition-gsr").settings() == {}


def test_controls_are_never_offered_as_candidates():
    taught = [resolve("gsr", "addition-gsr", {"train_on": how}) for how in ("hybrid", "direct", "refined")]
    assert [one.learns_from_what_passed for one in taught] == [True, False, False]


@pytest.mark.parametrize(("refinements", "extra"), [(0, 1), (250, 1), (251, 2), (500, 2), (501, 3)])
def test_as_many_more_samples_are_drawn_as_could_be_paid(refinements, extra):
    assert affordable(4, 1000, refinements) == extra
    assert affordable(4, 0, refinements) == 1


@needs_data
def test_a_run_on_real_hardware_can_be_planned(tmp_path, monkeypatch):
    monkeypatch.setenv("STARLOOP_DATA_DIR", str(DATA))
    small = {"problems_per_iteration": 20, "evaluation.dev_problems": 20, "evaluation.test_problems": 20}
    config = resolve("gsr", "gsm8k-gsr-7b", small)
    check(config)
    made = plan("gsr", config, Home.open(tmp_path / "home"), workers=1)
    steps = {(step.iteration, step.title): step for step in made.steps}
    assert steps[1, "critique"].waits_for == ("1 sample",) or "1 sample" in steps[1, "critique"].waits_for
    assert {"1 sample", "1 critique"} <= set(steps[1, "refine"].waits_for)
    assert {"1 sample", "1 verify", "1 refine", "1 verify refined"} <= set(steps[1, "mix"].waits_for)
    for n in range(4):
        assert (n, "weigh refinements dev") in steps
        assert steps[n, "refine dev"].depends == 1


@pytest.fixture(scope="module")
def run(small_run, starloop, tmp_path_factory):
    """A home with one GSR run of two iterations, from the small run's base, by a script; and the run's status."""
    home = shutil.copytree(small_run[0], tmp_path_factory.mktemp("gsr") / "home")
    base = f"ckp_{small_run[1]['iterations'][0]['checkpoint_id']}"
    settings = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    command = ["run", "gsr", "--preset", "addition-gsr", "--set", f"model.source={base}", *settings]
    before = starloop("plan", *command[1:], "--json", home=home)
    assert before.returncode == 0, before.stderr
    done = starloop(*command, home=home)
    assert done.returncode == 0, done.stderr
    return home, status_of(starloop, home), json.loads(before.stdout), command


def rows(run, query: str):
    with Lineage.open(Home(run[0])) as lineage:
        return lineage.query(query.replace("OURS", f"run_id = '{run[1]['run_id']}'"), limit=None).rows


@pytest.mark.slow
def test_every_problem_is_refined_once_over_its_own_candidates(run):
    asked = rows(
        run,
        "select iteration, question, prompt, text from v_attempt where OURS and step = 'refine' and split = 'train'",
    )
    shown = rows(
        run, "select iteration, question, sample_index, text from v_attempt where OURS and step = 'sample' order by 3"
    )
    candidates: dict[tuple[int, str], list[str]] = {}
    for iteration, question, _, text in shown:
        candidates.setdefault((iteration, question), []).append(text.rpartition("A")[2])
    assert Counter(one[:2] for one in asked) == dict.fromkeys(candidates, 1)
    for iteration, question, prompt, _ in asked:
        first, second = candidates[iteration, question]
        assert prompt == f"A{first}A{second}?{question}="


@pytest.mark.slow
def test_what_is_right_of_both_is_trained_on_also_where_every_candidate_was_wrong(run):
    made = rows(
        run,
        "select iteration, step, question, prompt, text, passed from v_attempt where OURS and step in ('sample', 'refine') "
        "and split = 'train'",
    )
    wanted = {
        (iteration, "refined" if step == "refine" else "sampled", prompt, text)
        for iteration, step, _, prompt, text, passed in made
        if passed
    }
    trained = rows(
        run,
        "select i.iteration, t.origin, t.prompt, t.completion from v_iteration i join v_checkpoint_training_set t "
        "using (checkpoint_id) where OURS and i.iteration > 0",
    )
    assert set(trained) == wanted
    rescued = [one for one in made if one[1] == "refine" and one[5] and hopeless(one[2])]
    assert rescued
    assert all(refinable(one[2]) for one in rescued)
    assert {(one[0], "refined", one[3], one[4]) for one in rescued} <= set(trained)


@pytest.mark.slow
def test_each_iteration_trains_the_base(run):
    trained = rows(
        run,
        "select t.base_checkpoint_id from v_iteration i join checkpoint c using (checkpoint_id) join training t "
        "using (training_id) where OURS and iteration > 0",
    )
    ((base,),) = rows(run, "select checkpoint_id from v_iteration where OURS and iteration = 0")
    assert {one for (one,) in trained} == {base}
    assert len(trained) == 2


@pytest.mark.slow
def test_candidates_and_refinements_are_counted_apart(run):
    counted = rows(run, "select attempts, refined, refined_kept, undecided from v_yield where OURS order by iteration")
    status = [one for one in run[1]["iterations"] if one["iteration"]]
    assert [one[:3] for one in counted if one[0]] == [
        (one["attempts"] - one["refined_attempts"], one["refined_attempts"], one["refined_correct"]) for one in status
    ]
    assert {one[3] for one in counted} == {0}
    for one in status:
        assert one["kept"] == one["rows_by_origin"]["sampled"] + one["rows_by_origin"]["refined"] == one["train_rows"]
        assert 0 < one["recovered"] < one["all_wrong"]


@pytest.mark.slow
def test_every_iteration_says_what_a_refinement_is_worth_on_dev(run):
    for one in run[1]["iterations"]:
        weighed = one["refinement"]
        assert one["refinement_gap"] == pytest.approx(weighed["refined"] - weighed["majority"])
        assert one["refinement_gap_at_equal_tokens"] == pytest.approx(
            weighed["refined"] - weighed["equal_tokens"]["majority"]
        )
        assert weighed["greedy"] == pytest.approx(one["held_out_accuracy"])
        spent = {name: told["prompt"] + told["generated"] for name, told in weighed["tokens"].items()}
        assert weighed["tokens"]["candidates"]["attempts"] == 2 * weighed["n"]
        each = spent["candidates"] / (2 * weighed["n"])
        assert 0 <= spent["refinements"] - spent["extra"] < each + 2
        assert weighed["tokens"]["extra"]["attempts"] + weighed["tokens"]["extra_unused"]["attempts"] == weighed[
            "n"
        ] * ceil(spent["refinements"] / weighed["n"] / each)
    (all_wrong, recovered), *_ = rows(
        run,
        "with c as (select problem_id, question, bool_or(passed) as solved from v_attempt where OURS and iteration = 0 and "
        "step = 'candidates dev' group by all), r as (select problem_id, passed from v_attempt where OURS and iteration = 0 and "
        "step = 'refine dev') select count(*) filter (where not solved), count(*) filter (where not solved and passed) "
        "from c join r using (problem_id)",
    )
    told = run[1]["iterations"][0]["refinement"]
    assert (told["all_wrong"], told["recovered"]) == (all_wrong, recovered)
    assert 0 < recovered < all_wrong


@pytest.mark.slow
def test_the_plan_had_said_which_steps_there_would_be(run):
    planned = {(one["iteration"], one["title"]) for one in run[2]["steps"]}
    with Lineage.open(Home(run[0])) as lineage:
        facts = lineage.run(run[1]["run_id"]).facts
    assert planned == {(one["iteration"], one["step"]) for one in facts["steps"]}


@pytest.mark.slow
def test_a_refined_example_leads_back_to_its_candidates(run, starloop):
    (example, attempt), *_ = rows(
        run, "select example_id, attempt_id from example_evidence where origin = 'refined' order by 1 limit 1"
    )
    links = rows(
        run, f"select relation, to_id from v_example_lineage where example_id = '{example}' and relation = 'refines'"
    )
    parents = rows(run, f"select parent_id from derivation where child_id = '{attempt}'")
    assert {one for _, one in links} >= {one for (one,) in parents}
    shown = starloop("lineage", f"exm_{example.hex}", home=run[0])
    assert shown.returncode == 0, shown.stderr
    assert "refined" in shown.stdout


@pytest.mark.slow
def test_a_second_run_finds_everything_and_a_control_finds_the_candidates(run, starloop):
    home, _, _, command = run
    again = starloop(*command, home=home)
    assert again.returncode == 0, again.stderr
    assert all(one["tasks_run"] == 0 for one in status_of(starloop, home)["iterations"])
    control = starloop("plan", *command[1:], "--set", "train_on=direct", "--set", "iterations=1", "--json", home=home)
    steps = {one["title"]: one for one in json.loads(control.stdout)["steps"] if one["iteration"] == 1}
    assert steps["sample"]["hit"] == 2
    assert "refine" not in steps
    assert "refine dev" in steps
