"""CARE-STaR on a scripted engine: what is asked again, what is kept, what is trained on and from which weights, and the self-check."""

import json
from collections import Counter
from pathlib import Path

import pytest

from flows.plan import plan
from flows.refs import check, refs_of
from flows.rehearsal import DEPENDS
from flows.resolving import resolve
from storage.errors import UserMistake
from storage.home import Home
from storage.ledger import Ledger
from storage.lineage import Lineage
from tasks.problems.scratchpad import work
from tests.constraint_answers import FATES, fate, unsound, wrong

SETTINGS = {
    "problems": "addition:1-2", "engine": "scripted:tests.constraint_answers:reply", "self_check": "on", "iterations": 2,
    "problems_per_iteration": 60, "cell_rows": 40, "zpd": "off", "model.hidden": 16, "model.layers": 1, "model.heads": 2, "model.mlp": 16,
    "model.corpus_documents": 200, "model.pretraining.steps": 3, "model.pretraining.warmup_steps": 1, "training.steps": 2,
    "training.warmup_steps": 1, "evaluation.dev_problems": 12, "evaluation.test_problems": 12, "mix.self_share": 1.0,
    "mix.final_self_share": 1.0,
}  # fmt: skip
ARMS = [{"name": "constrained"}, {"name": "answer", "set": {"keep": "answer", "self_check": "off"}}]
COMMAND = ["run", "care_star", "--preset", "addition-care", *(part for name, value in (SETTINGS | {"arms": ARMS}).items()
                                                             for part in ("--set", f"{name}={json.dumps(value)}"))]  # fmt: skip
ASPECTS = ["equations", "form", "operands", "sums"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "care_star needs constraints, and addition:1-5 is judged by its answer alone (verifier sums); name a set that has some"),
        ({"constraints": ["instruction"]}, "addition:1-5 has no constraints in its instructions"),
        ({"constraints": ["own", "sum_equations"]}, "the embedded model writes what its corpus taught it and cannot be asked"),
        ({"constraints": ["own"], "levels": 2, "self_check": "off"}, "levels = 2 leaves no constraint of sums"),
        ({"constraints": ["own", "equations"]}, "no verifier 'equations'; this checkout has: choice"),
        ({"constraints": ["own", "sum_equations"], "check_template": "constrant"}, "no prompt template 'constrant'"),
        ({"constraints": ["own", "sum_equations"], "self_check": "off", "balance.by": "probe", "balance.thresholds": [0.5]},
         "balance.thresholds = [0.5] would keep what meets some constraints"),
        ({"levels": 5}, "levels = 5 does not fit"),
    ],
)  # fmt: skip
def test_what_the_method_cannot_use_is_refused_before_anything_runs(settings, sentence):
    with pytest.raises(UserMistake) as refused:
        check(resolve("care_star", None, settings))
    assert sentence in str(refused.value)


def test_dev_and_test_are_judged_by_the_answer_and_samples_by_every_constraint():
    refs = refs_of(resolve("care_star", "addition-care", {}))
    assert (refs.verifier, refs.kept_by, refs.audit) == ("sums", "each(sums,sum_equations)", "sum_steps")
    easier = refs_of(resolve("care_star", "addition-care", {"levels": 3}))
    assert easier.kept_by == "each(sums,sum_equations:levels=1-3)"
    assert easier.audit == "each(sum_steps,sum_equations:levels=4-4)"
    control = refs_of(resolve("care_star", "addition-care", {"keep": "answer"}))
    assert control.kept_by == control.verifier == "sums"


def test_a_run_is_planned_with_its_checks(tmp_path):
    config = resolve("care_star", "addition-care", SETTINGS)
    made = plan("care_star", config, Home.open(tmp_path / "home"), workers=1)
    steps = {(step.iteration, step.title): step for step in made.steps}
    assert all(steps[1, title].depends for title in ("check", "verify check", "constraints", "mix"))
    assert made.count(DEPENDS) > 20


@pytest.fixture(scope="module")
def done(starloop, tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("care") / "home"
    ran = starloop(*COMMAND, home=home)
    assert ran.returncode == 0, ran.stderr
    return home


@pytest.fixture
def lineage(done):
    with Lineage.open(Home(done)) as opened:
        yield opened


def rows(lineage, query):
    runs = {run.name: run.run_id for run in lineage.runs()}
    return lineage.query(query.format(**runs), limit=None).rows


@pytest.mark.slow
def test_each_constraint_of_each_sample_has_a_verdict_row(lineage):
    found = rows(
        lineage,
        "select a.attempt_id, a.question, list(v.aspect order by v.aspect), list(v.passed order by v.aspect) from v_attempt a "
        "join v_verdict v using (run_id, iteration, attempt_id) where a.run_id = '{constrained}' and v.step = 'verify' group by all",
    )
    assert {fate(question) for _, question, _, _ in found} == set(FATES)
    for _, question, aspects, passed in found:
        assert aspects == ASPECTS
        wanted = {"sound": [True] * 4, "unsound": [False, True, True, True], "wrong": [True, True, True, False]}
        assert passed == wanted[fate(question)]


@pytest.mark.slow
@pytest.mark.parametrize(("arm", "again"), [("constrained", {"unsound", "wrong"}), ("answer", {"wrong"})])
def test_what_does_not_meet_every_constraint_is_asked_again_with_the_hint(lineage, arm, again):
    asked = rows(
        lineage,
        "select question, bool_or(hinted) from v_attempt where run_id = '{constrained}' and split = 'train' group by all".replace(
            "{constrained}", f"{{{arm}}}"
        ),
    )
    assert {question for question, hinted in asked if hinted} == {one for one, _ in asked if fate(one) in again}


@pytest.mark.slow
def test_only_what_meets_every_constraint_is_trained_on_and_the_control_trains_on_the_rest_too(lineage):
    query = (
        "select distinct x.prompt, x.completion from v_iteration i join checkpoint c using (checkpoint_id) join training t using (training_id) "
        "join mix_member m using (mix_id) join example x using (example_id) where i.iteration > 0 and i.run_id = '{%s}'"
    )
    kept = {arm: {(p.rstrip("="), text) for p, text in rows(lineage, query % arm)} for arm in ("constrained", "answer")}
    questions = {question for question, _ in kept["answer"]}
    assert kept["constrained"] == {(one, work(one)) for one in questions if fate(one) in ("sound", "unsound")}
    assert kept["answer"] == {(one, work(one) if fate(one) == "sound" else unsound(one)) for one in questions}
    assert not {text for _, text in kept["constrained"] | kept["answer"]} & {wrong(one) for one in questions}


@pytest.mark.slow
def test_every_iteration_trains_from_the_base(lineage):
    starts = rows(
        lineage,
        "select i.iteration, i.checkpoint_id, t.base_checkpoint_id from v_iteration i join checkpoint c using (checkpoint_id) "
        "join training t using (training_id) where i.run_id = '{constrained}' order by 1",
    )
    assert [start for _, _, start in starts] == [None, starts[0][1], starts[0][1]]


@pytest.mark.slow
def test_the_model_is_asked_about_every_constraint_of_every_text_once(lineage):
    found = rows(
        lineage,
        "select a.prompt, a.text, a.gold, a.passed, d.role, p.text, p.question from v_attempt a join derivation d on d.child_id = a.attempt_id "
        "join v_attempt p on p.attempt_id = d.parent_id and p.run_id = a.run_id and p.iteration = a.iteration "
        "where a.run_id = '{constrained}' and a.step = 'check' and a.iteration = 1",
    )
    ((samples,),) = rows(
        lineage, "select count(*) from v_attempt where run_id = '{constrained}' and step = 'sample' and iteration = 1"
    )
    assert len(found) == 4 * samples
    assert {role for _, _, _, _, role, _, _ in found} == {"checks"}
    for prompt, text, gold, passed, _, response, question in found:
        shown = prompt.rpartition("Instruction: ")[2]
        assert shown.startswith(f"{question}\nResponse: {response}\nConstraint: ")
        assert passed is (text == "(A)" and gold == "A")


@pytest.mark.slow
def test_agreement_is_in_the_summary_and_on_the_page(lineage, done, starloop):
    run = next(run for run in lineage.runs() if run.name == "constrained")
    figures = lineage.iterations(run.run_id)[1].figures
    questions = [
        question
        for (question,) in rows(
            lineage,
            "select question from v_attempt where run_id = '{constrained}' and step = 'sample' and iteration = 1",
        )
    ]
    count, fates = len(questions), Counter(map(fate, questions))
    told = figures["constraints"]
    assert {name: one["level"] for name, one in told.items()} == {"form": 1, "operands": 2, "sums": 3, "equations": 4}
    assert told["form"] == {"level": 1, "judged": count, "met": count, "undecided": 0, "checked": 0, "unread": count, "agreed": 0,
                            "said_met": 0, "held": 0}  # fmt: skip
    assert told["equations"]["met"] == told["equations"]["agreed"] == count - fates["unsound"]
    assert told["sums"]["agreed"] == count - fates["wrong"]
    assert told["sums"]["said_met"] == count
    assert figures["agreement"] == pytest.approx((3 * count - fates["unsound"] - fates["wrong"]) / (3 * count))
    assert figures["attempts"] == sum(
        n
        for (n,) in rows(
            lineage, "select attempts + rationalized from v_yield where run_id = '{constrained}' and iteration = 1"
        )
    )
    page = starloop("report", run.run_id, home=done)
    assert page.returncode == 0, page.stderr
    html = next((done / "reports").glob(f"{run.run_id}*.html")).read_text()
    assert "Constraints, one by one" in html
    assert "equations" in html.partition("Constraints, one by one")[2]


@pytest.mark.slow
def test_a_second_run_finds_everything_done_and_the_store_holds_together(done, starloop):
    again = starloop(*COMMAND, home=done)
    assert again.returncode == 0, again.stderr
    with Lineage.open(Home(done), fresh=True) as lineage:
        for arm in ARMS:
            run = next(run for run in lineage.runs() if run.name == arm["name"])
            assert sum(one.figures["tasks_run"] for one in lineage.iterations(run.run_id)) == 0
    assert Ledger(Home(done)).verify() == []
