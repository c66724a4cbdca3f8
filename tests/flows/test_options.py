"""The options of the shared steps, in settings, in a plan, and in one small real run."""

import shutil

import pytest

from flows.plan import plan
from flows.refs import check
from flows.resolving import resolve
from storage.errors import UserMistake
from storage.home import Home
from storage.lineage import Lineage
from tests.small_run import status_of

PAIRS = {"training.objective": "dpo_nll", "samples": 4, "mix.self_share": 1.0, "mix.final_self_share": 1.0}
CHOSEN = {
    **PAIRS,
    "restart": "previous",
    "rationalize_iterations": 0,
    "problem_choice": "adaptive",
    "problem_pool": 80,
    "problems_per_iteration": 60,
    "balance.by": "probe",
    "balance.temperatures": [0.7, 1.0],
    "balance.problems": 10,
    "rank.by": "ratio",
    "rank.samples": 4,
    "rank.problems": 30,
    "rank.steps": 10,
    "training.batch_size": 16,
    "evaluation.dev_problems": 30,
    "evaluation.test_problems": 30,
}


def settings(changes):
    return resolve("star", "addition-smoke", changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({**PAIRS, "mix.self_share": 0.9}, "trains on pairs, and original data has no wrong answers"),
        (
            {**PAIRS, "samples": 1, "rationalize_iterations": 0},
            "pairs right and wrong answers of a problem, and samples = 1",
        ),
        ({**PAIRS, "train_on": "everything"}, "train_on = everything .* has nothing to prefer"),
        ({"model.pretraining.objective": "dpo"}, "model.pretraining.objective has to be sft"),
        (
            {"problem_choice": "adaptive", "problem_pool": 10},
            "problem_pool = 10 is less than problems_per_iteration = 200",
        ),
        ({"rank.by": "likelihood", "samples": 1, "rationalize_iterations": 0}, "raise samples to 2 or more"),
        ({"balance.by": "probe", "sampling.temperature": 0.0, "balance.temperatures": []}, "at least 1 item"),
    ],
)
def test_options_that_do_not_go_together_are_refused_in_one_sentence(changes, sentence):
    with pytest.raises(UserMistake, match=sentence):
        settings(changes)


def test_rest_trains_on_what_is_above_a_threshold_and_on_no_pairs():
    with pytest.raises(UserMistake, match="ReST keeps what is above a threshold"):
        resolve("rest", None, {"training.objective": "dpo", "samples": 4})


def test_options_that_do_not_fit_the_model_the_engine_or_the_problems_are_refused(tmp_path):
    with pytest.raises(UserMistake, match="the embedded model has learned to answer and never saw a request"):
        check(settings({"propose.problems": 10}))
    (tmp_path / "answers.json").write_text('{"*": "A00002"}')
    with pytest.raises(UserMistake, match="the engine scripted does not say"):
        check(settings({"rank.by": "likelihood", "samples": 4, "engine": f"scripted:{tmp_path}/answers.json"}))
    lines = '{"question": "1+1", "answer": "2", "split": "%s", "choices": ["2"]}\n'
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(lines.replace("1+1", f"{n}+1") % split for n, split in enumerate(("train", "dev", "test"))))
    listed = {
        "problems": f"jsonl:{path},question=question,gold=answer",
        "model.source": str(tmp_path),
        "propose.problems": 5,
    }
    with pytest.raises(UserMistake, match="has no program that answers a new question"):
        check(settings(listed | {"propose.gold": "program", "audit": "none"}))
    with pytest.raises(UserMistake, match="are more than a question and an answer"):
        check(settings(listed | {"audit": "none"}))


def test_a_plan_shows_the_steps_of_every_option_and_what_waits_for_them(tmp_path):
    shown = plan("star", settings(CHOSEN), Home.open(tmp_path / "home"), 1)
    steps = {(one.iteration, one.title): one for one in shown.steps}
    for title in (
        "problem pool", "choose problems", "probe problems", "probe at 0.7", "probe at 1", "balance", "sample", "mix",
        "fine-tune", "rank pair up", "rank train", "rank sample", "audit by rank", "pick",
    ):  # fmt: skip
        assert (1, title) in steps, title
        assert (2, title) in steps, title
    assert "1 balance" in steps[1, "sample"].waits_for
    assert "2 balance" in steps[2, "sample"].waits_for
    assert "1 sample" in steps[2, "choose problems"].waits_for
    assert steps[2, "probe at 0.7"].depends
    assert set(steps[1, "rank train"].waits_for) == {"1 rank pair up", "0 pre-train"}
    assert steps[1, "mix"].depends == steps[1, "mix"].cells == 1


def test_a_plan_of_proposals_counts_what_they_are_asked_for(tmp_path):
    (tmp_path / "answers.json").write_text('{"*": "What is 1 + 2?"}')
    changes = {"problems": "sums:99", "engine": f"scripted:{tmp_path}/answers.json", "model.source": "nobody/nothing", "chat": "off",
               "propose.problems": 7, "propose.gold": "majority", "audit": "none", "mix.self_share": 1.0, "mix.final_self_share": 1.0}  # fmt: skip
    shown = plan("star", settings(changes), Home.open(tmp_path / "home"), 1)
    steps = {(one.iteration, one.title): one for one in shown.steps}
    assert steps[1, "propose"].estimate.attempts.high == 7
    assert {"propose admit", "propose vote", "propose settle"} <= {title for _, title in steps}
    assert "1 propose settle" in steps[1, "sample"].waits_for


@pytest.fixture(scope="module")
def run(small_run, starloop, tmp_path_factory):
    home = shutil.copytree(small_run[0], tmp_path_factory.mktemp("options") / "home")
    words = [word for name, value in CHOSEN.items() for word in ("--set", f"{name}={value}")]
    done = starloop("run", "star", "--preset", "addition-smoke", *words, home=home)
    assert done.returncode == 0, done.stderr
    return home, status_of(starloop, home)


@pytest.mark.slow
def test_a_loop_prefers_its_right_answers_and_says_so(run):
    _, status = run
    for one in status["iterations"][1:]:
        assert one["preference"]["margin_after"] > one["preference"]["margin_before"]
        assert one["rows_by_origin"] == {"chosen": one["pairs"], "rejected": one["pairs"]}
        assert one["kept"] == one["pairs"] > 0
        assert one["temperature"] in (0.7, 1.0)
        assert 0 < one["balance_score"] <= 1


@pytest.mark.slow
def test_a_ranker_is_told_beside_majority_and_the_mean(run):
    _, status = run
    for one in status["iterations"][1:]:
        ranked = one["ranked"]
        assert (ranked["by"], ranked["of"], ranked["problems"]) == ("ratio", 4, 30)
        worth = {name: ranked[name]["accuracy"] for name in ("pass_at_1", "majority", "best", "pass_at_k")}
        assert worth["pass_at_1"] <= worth["pass_at_k"]
        assert max(worth["majority"], worth["best"]) <= worth["pass_at_k"]


@pytest.mark.slow
def test_the_ledger_knows_both_sides_of_a_pair_and_an_adaptive_choice(run):
    home, _ = run
    with Lineage.open(Home(home), fresh=True) as lineage:
        pairs = lineage.query(
            "select p.pair, count(*), count(distinct p.prompt), bool_and((p.verdict = 'passed') = (p.origin = 'chosen')) "
            "from v_mix_example p where p.pair is not null group by p.mix_id, p.pair",
            limit=None,
        ).rows
        twice = lineage.query(
            "select count(*) from (select distinct problem_id from v_attempt a join run r using (run_id) where step = 'sample' "
            "and a.iteration = 1 and r.config like '%adaptive%' intersect select distinct problem_id from v_attempt a join run r "
            "using (run_id) where step = 'sample' and a.iteration = 2 and r.config like '%adaptive%')"
        ).rows
    assert pairs
    assert all((count, prompts, agree) == (2, 1, True) for _, count, prompts, agree in pairs)
    assert twice[0][0] >= 40  # sixty of eighty problems, twice


@pytest.mark.slow
def test_a_second_run_finds_everything_there(run, starloop):
    home, _ = run
    words = [word for name, value in CHOSEN.items() for word in ("--set", f"{name}={value}")]
    done = starloop("run", "star", "--preset", "addition-smoke", *words, home=home)
    assert done.returncode == 0, done.stderr
    assert sum(one["tasks_run"] for one in status_of(starloop, home)["iterations"]) == 0
    assert starloop("verify-store", home=home).returncode == 0
