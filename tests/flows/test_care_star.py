"""CARE-STaR on a scripted engine: what is asked again, what is kept, what is trained on and from which weights, and the self-check."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from flows.care_star import improve
from flows.plan import plan
from flows.refs import check, code_behind, refs_of, run_identity
from flows.rehearsal import DEPENDS
from flows.resolving import resolve
from storage.errors import UserMistake
from storage.home import Home
from storage.ledger import Ledger
from storage.lineage import Lineage
from storage.records import Derivation, Problem, Verdict
from tasks.problems.scratchpad import work
from tests.constraint_answers import FATES, fate, unsound, wrong
from tests.plain_loop import PlainLoop, plain_loop
from tests.small_run import status_of

SETTINGS = {
    "problems": "addition:1-2", "engine": "scripted:tests.constraint_answers:reply", "self_check": "on", "iterations": 2,
    "problems_per_iteration": 24, "cell_rows": 12, "zpd": "off", "model.hidden": 16, "model.layers": 1, "model.heads": 2, "model.mlp": 16,
    "model.corpus_documents": 60, "model.pretraining.steps": 3, "model.pretraining.warmup_steps": 1, "training.steps": 2,
    "training.warmup_steps": 1, "evaluation.dev_problems": 12, "evaluation.test_problems": 12, "mix.self_share": 1.0,
    "mix.final_self_share": 1.0,
}  # fmt: skip
COMMAND = ["run", "care_star", "--preset", "addition-care", *(part for name, value in (SETTINGS | {"iterations": 1}).items()
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
    control = refs_of(resolve("care_star", "addition-care", {"held_to": "answer"}))
    assert control.kept_by == control.verifier == "sums"


def test_the_control_is_another_run_than_the_method():
    runs = [resolve("care_star", "addition-care", {"held_to": one}) for one in ("constraints", "answer")]
    assert len({run_identity("care_star", one, code_behind(one)) for one in runs}) == 2
    assert len({run_identity("care_star", one, {}) for one in runs}) == 2


def test_a_run_is_planned_with_its_checks(tmp_path):
    config = resolve("care_star", "addition-care", SETTINGS)
    made = plan("care_star", config, Home.open(tmp_path / "home"), workers=1)
    steps = {(step.iteration, step.title): step for step in made.steps}
    assert all(steps[1, title].depends for title in ("check", "verify check", "constraints", "mix"))
    assert made.count(DEPENDS) > 20


@pytest.fixture(scope="module", params=["constrained", "answer"])
def loop(request, tmp_path_factory) -> Iterator[PlainLoop]:
    """Two iterations of the method, or of its control, whose steps run in this process; nothing is trained."""
    changes = {} if request.param == "constrained" else {"held_to": "answer", "self_check": "off"}
    config = resolve("care_star", "addition-care", SETTINGS | changes)
    with plain_loop(config, tmp_path_factory.mktemp(request.param)) as loop:
        improve(loop)
        yield loop


def constrained(loop: PlainLoop) -> bool:
    return loop.config.model_dump()["held_to"] == "constraints"


def question_of(prompt: str) -> str:
    return prompt.rstrip("=").rpartition("?")[2]


def verdicts(loop: PlainLoop, title: str, iteration: int) -> dict[str, list[Verdict]]:
    """By attempt."""
    found: dict[str, list[Verdict]] = {}
    for one in loop.steps(title, iteration):
        for row in loop.runtime.shards.read(one.output.manifests["verdicts"], Verdict):
            found.setdefault(row.attempt_id, []).append(row)
    return found


@pytest.mark.slow
def test_each_constraint_of_each_sample_has_a_verdict_row(loop):
    judged = verdicts(loop, "verify", 1)
    attempts = loop.attempts("sample", 1)
    assert judged.keys() == {one.attempt_id for one in attempts}
    assert {fate(question_of(prompt)) for prompt in loop.prompts("sample", 1)} == set(FATES)
    met = {"sound": [True] * 4, "unsound": [False, True, True, True], "wrong": [True, True, True, False]}
    for attempt, prompt in zip(attempts, loop.prompts("sample", 1), strict=True):
        rows = sorted(judged[attempt.attempt_id], key=lambda row: row.aspect)
        if constrained(loop):
            assert [row.aspect for row in rows] == ASPECTS
            assert [row.passed for row in rows] == met[fate(question_of(prompt))]
        else:
            assert [(row.aspect, row.passed) for row in rows] == [("", fate(question_of(prompt)) != "wrong")]


@pytest.mark.slow
def test_what_does_not_meet_every_constraint_is_asked_again_with_the_hint(loop):
    again = {"unsound", "wrong"} if constrained(loop) else {"wrong"}
    for iteration in (1, 2):
        hinted = loop.prompts("rationalize", iteration)
        assert all("?" in prompt for prompt in hinted)
        questions = set(map(question_of, loop.prompts("sample", iteration)))
        assert set(map(question_of, hinted)) == {one for one in questions if fate(one) in again}


@pytest.mark.slow
def test_only_what_meets_every_constraint_is_trained_on_and_the_control_trains_on_the_rest_too(loop):
    for iteration in (1, 2):
        questions = set(map(question_of, loop.prompts("sample", iteration)))
        kept = {(example.prompt.rstrip("="), example.completion, role) for example, role in loop.trained_on(iteration)}
        sound = {(one, work(one), "sampled") for one in questions if fate(one) == "sound"}
        if constrained(loop):
            assert kept == sound | {(one, work(one), "rationalized") for one in questions if fate(one) == "unsound"}
        else:
            assert kept == (
                sound
                | {(one, unsound(one), "sampled") for one in questions if fate(one) == "unsound"}
                | {(one, unsound(one), "rationalized") for one in questions if fate(one) == "wrong"}
            )
        assert not {text for _, text, _ in kept} & {wrong(one) for one in questions}


@pytest.mark.slow
def test_every_iteration_trains_from_the_base_and_samples_from_the_model_before(loop):
    base, first, _ = (one["checkpoint_id"] for one in loop.closed)
    assert [one.call["base_checkpoint_id"] for one in loop.steps("fine-tune")] == [base, base]
    assert {one.call["checkpoint_id"] for one in loop.steps("sample", 1)} == {base}
    assert {one.call["checkpoint_id"] for one in loop.steps("sample", 2)} == {first}
    assert {one.call["checkpoint_id"] for one in loop.steps("check", 2)} == ({first} if constrained(loop) else set())


@pytest.mark.slow
def test_the_steps_are_measured_by_another_verifier_than_the_one_that_filters(loop):
    assert {one.call["verifier"] for one in loop.steps("audit") + loop.steps("audit rationalized")} == {"sum_steps"}
    wanted = "each(sums,sum_equations)" if constrained(loop) else "sums"
    assert {one.call["verifier"] for one in loop.steps("verify") + loop.steps("verify rationalized")} == {wanted}
    assert {one.call["verifier"] for one in loop.steps("verify dev") + loop.steps("verify test")} == {"sums"}


@pytest.mark.slow
def test_the_model_is_asked_about_every_constraint_of_every_text_once(loop):
    samples = dict(zip([one.attempt_id for one in loop.attempts("sample", 1)], loop.prompts("sample", 1), strict=True))
    texts = {one.attempt_id: one.text for one in loop.attempts("sample", 1)}
    checks = loop.attempts("check", 1)
    if not constrained(loop):
        assert not checks
        return
    assert len(checks) == 4 * len(samples)
    derivations = [
        row for one in loop.steps("check", 1)
        for row in loop.runtime.shards.read(one.output.manifests["derivations"], Derivation)
    ]  # fmt: skip
    parent_of = {row.child_id: row.parent_id for row in derivations}
    assert {row.role for row in derivations} == {"checks"}
    agreed = verdicts(loop, "verify check", 1)
    questions = {
        row.problem_id: row for one in loop.steps("check", 1)
        for row in loop.runtime.shards.read(one.output.manifests["problems"], Problem)
    }  # fmt: skip
    for check_, prompt in zip(checks, loop.prompts("check", 1), strict=True):
        parent = parent_of[check_.attempt_id]
        shown = prompt.rpartition("Instruction: ")[2]
        assert shown.startswith(f"{question_of(samples[parent])}\nResponse: {texts[parent]}\nConstraint: ")
        question = questions[check_.problem_id]
        assert (question.split, question.source_attempt_id) == ("check", parent)
        (verdict,) = agreed[check_.attempt_id]
        assert verdict.passed is (check_.text == "(A)" and question.gold == "A")


@pytest.mark.slow
def test_agreement_with_the_models_own_check_is_in_the_summary(loop):
    figures = loop.closed[1]
    fates = Counter(fate(question_of(prompt)) for prompt in loop.prompts("sample", 1))
    count, told = fates.total(), figures["constraints"]
    if not constrained(loop):
        assert told == {"": {"level": 3, "judged": count, "met": count - fates["wrong"], "undecided": 0}}
        assert figures["agreement"] is None
        return
    assert {name: one["level"] for name, one in told.items()} == {"form": 1, "operands": 2, "sums": 3, "equations": 4}
    assert told["form"] == {"level": 1, "judged": count, "met": count, "undecided": 0, "checked": 0, "unread": count, "agreed": 0,
                            "said_met": 0, "held": 0}  # fmt: skip
    assert told["equations"]["met"] == told["equations"]["agreed"] == count - fates["unsound"]
    assert told["sums"]["agreed"] == count - fates["wrong"]
    assert told["sums"]["said_met"] == count
    assert figures["agreement"] == pytest.approx((3 * count - fates["unsound"] - fates["wrong"]) / (3 * count))


@pytest.mark.slow
def test_a_run_shows_its_constraints_and_a_second_one_finds_everything_done(starloop, tmp_path):
    home = tmp_path / "home"
    ran = starloop(*COMMAND, home=home)
    assert ran.returncode == 0, ran.stderr
    status = status_of(starloop, home)
    page = next((home / "reports").glob("*.html")).read_text()
    assert "Constraints, one by one" in page
    assert "Asked itself, the model agreed with the program" in page.partition("Constraints, one by one")[2]
    with Lineage.open(Home(home)) as lineage:
        ((attempts, rationalized),) = lineage.query(
            f"select attempts, rationalized from v_yield where run_id = '{status['run_id']}' and iteration = 1"
        ).rows
    assert attempts + rationalized == status["iterations"][1]["attempts"]
    again = starloop(*COMMAND, home=home)
    assert again.returncode == 0, again.stderr
    assert sum(one["tasks_run"] for one in status_of(starloop, home)["iterations"]) == 0
    assert Ledger(Home(home)).verify() == []
