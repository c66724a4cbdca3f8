"""STaR on the embedded model: the DAG, the ledger, MLflow and the terminal of one small real run."""

import json
import shutil
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from storage.home import Home
from storage.ledger import Ledger
from storage.lineage import Lineage
from tests.small_run import status_of

pytestmark = pytest.mark.slow

QUIET_MLFLOW = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
"""MLflow's own imports warn; ours never do."""

SUMMARY = {
    "iteration", "held_out_accuracy", "ci_low", "ci_high", "n", "attempts", "kept", "rationalized_kept", "undecided",
    "train_rows", "original_share", "checkpoint_id", "mlflow_version", "tasks_run", "tasks_cached", "wall_s",
}  # fmt: skip


@pytest.fixture
def lineage(small_run):
    with Lineage.open(Home(small_run[0])) as opened:
        yield opened


def rows(lineage, query):
    return lineage.query(query, limit=None).rows


def test_status_gives_every_iteration_with_its_figures(small_run):
    status = small_run[1]
    assert status["state"] == "completed"
    assert [one["iteration"] for one in status["iterations"]] == [0, 1, 2]
    assert all(set(one) >= SUMMARY for one in status["iterations"])
    assert 0 <= status["base_accuracy"] <= 1
    assert 0 <= status["final_accuracy"] <= 1
    assert [one["mlflow_version"] for one in status["iterations"]] == [1, 2, 3]


def test_only_failures_are_rationalized_and_only_in_the_iterations_asked_for(lineage):
    hinted = rows(lineage, "select iteration, count(*) from v_attempt where hinted group by 1")
    assert [iteration for iteration, _ in hinted] == [1]
    wrongly = rows(
        lineage,
        "select count(*) from v_attempt h join derivation d on d.child_id = h.attempt_id "
        "join v_attempt p on p.attempt_id = d.parent_id where h.hinted and p.passed",
    )
    assert wrongly == [(0,)]
    solved = rows(
        lineage,
        "select count(*) from v_attempt h join v_attempt p using (run_id, iteration, problem_id) where h.hinted and "
        "not p.hinted and p.passed and h.iteration = 1",
    )
    assert solved == [(0,)]


def test_everything_generated_that_is_trained_on_passed_its_verifier(lineage):
    kept = rows(
        lineage,
        "select e.origin, v.passed, count(*) from mix_member m join example_evidence e using (example_id) "
        "left join verdict v using (verdict_id) where m.role in ('sampled', 'rationalized') and e.origin = m.role group by all",
    )
    assert kept
    assert {passed for _, passed, _ in kept} == {True}
    assert {origin for origin, _, _ in kept} == {"sampled", "rationalized"}


def test_a_rationalized_example_does_not_hold_its_hint(lineage):
    found = rows(
        lineage,
        "select x.prompt, p.text, b.gold from example_evidence e join example x using (example_id) join attempt a using (attempt_id) "
        "join prompt p using (prompt_id) join problem b on b.problem_id = e.problem_id where e.origin = 'rationalized'",
    )
    assert found
    for prompt, hinted, gold in found:
        assert hinted == f"{gold}?{prompt}"
        assert "?" not in prompt


def test_rejected_attempts_are_kept_in_the_ledger(small_run, lineage):
    ((attempts, rejected),) = rows(
        lineage,
        "select count(*), count(*) filter (where not passed) from v_attempt where split = 'train'",
    )
    said = sum(one["attempts"] for one in small_run[1]["iterations"])
    assert attempts == said
    assert rejected > 0


def test_the_self_generated_share_decays_as_asked_and_is_measured(small_run):
    shares = [1 - one["original_share"] for one in small_run[1]["iterations"][1:]]
    assert shares == pytest.approx([0.9, 0.7], abs=0.01)


def test_each_iteration_trains_from_the_base(lineage):
    trained = rows(
        lineage,
        "select i.iteration, t.base_checkpoint_id from v_iteration i join checkpoint c using (checkpoint_id) "
        "join training t using (training_id) order by 1",
    )
    (_, nothing), *others = trained
    base = rows(lineage, "select checkpoint_id from v_iteration where iteration = 0")[0][0]
    assert nothing is None
    assert {start for _, start in others} == {base}


def test_steps_grow_by_the_schedule(lineage):
    steps = rows(
        lineage,
        "select t.steps from v_iteration i join checkpoint c using (checkpoint_id) join training t using (training_id) "
        "where iteration > 0 order by iteration",
    )
    assert [count for (count,) in steps] == [10, 12]


def test_no_held_out_problem_is_ever_trained_on(lineage):
    overlap = rows(
        lineage,
        "select count(*) from example_evidence e join problem b using (problem_id) where b.split <> 'train'",
    )
    assert overlap == [(0,)]


def test_the_test_split_is_looked_at_for_base_and_final_only(lineage):
    looks = rows(lineage, "select iteration from v_evaluation where split = 'test' order by 1")
    assert [iteration for (iteration,) in looks] == [0, 2]


def test_an_example_leads_back_to_the_base(small_run, lineage, starloop):
    home, status, _ = small_run
    (example,), *_ = rows(
        lineage, "select example_id from example_evidence where origin = 'rationalized' order by example_id limit 1"
    )
    shown = starloop("lineage", f"exm_{example.hex}", home=home)
    assert shown.returncode == 0, shown.stderr
    assert "hinted: the hint is not in the example" in shown.stdout
    assert f"ckp_{status['iterations'][0]['checkpoint_id']}" in shown.stdout


def test_a_checkpoint_leads_back_to_the_base_and_its_corpus(small_run, starloop):
    home, status, _ = small_run
    shown = starloop("lineage", f"ckp_{status['iterations'][-1]['checkpoint_id'][:10]}", home=home)
    assert f"ckp_{status['iterations'][0]['checkpoint_id']}" in shown.stdout
    assert "3,000 original" in shown.stdout


def test_the_store_holds_together(small_run):
    assert Ledger(Home(small_run[0])).verify() == []


def test_the_terminal_ends_with_table_report_and_next_commands(small_run):
    home, _, shown = small_run
    assert "test: base" in shown
    for command in ("starloop lineage ckp_", 'starloop sql "', "mlflow ui"):
        assert command in shown
    report = next(line.removeprefix("report: ") for line in shown.splitlines() if line.startswith("report: "))
    assert Path(report).read_text().startswith("<!doctype html>")
    assert Path(report).is_relative_to(home)


def test_the_documented_next_query_runs(small_run, starloop):
    home, _, shown = small_run
    query = next(line.split('"')[1] for line in shown.splitlines() if 'starloop sql "' in line)
    answer = json.loads(starloop("sql", query, "--json", home=home).stdout)
    assert [one["iteration"] for one in answer] == [1, 2]


@QUIET_MLFLOW
def test_the_candidate_answers_through_mlflow(small_run, monkeypatch):
    import mlflow

    home, status, _ = small_run
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
    pipeline = mlflow.transformers.load_model("models:/addition-smoke@candidate")
    answer = pipeline("00002+00003=", max_new_tokens=40, do_sample=False)[0]["generated_text"]
    with Lineage.open(Home(home)) as lineage:
        greedy = rows(
            lineage,
            "select p.text || a.text from v_attempt a join prompt p using (prompt_id) where a.split = 'dev' and "
            f"a.checkpoint_id = '{status['iterations'][-1]['checkpoint_id']}' limit 1",
        )[0][0]
    assert answer.startswith("00002+00003=")
    prompt = greedy.partition("=")[0] + "="
    assert pipeline(prompt, max_new_tokens=40, do_sample=False)[0]["generated_text"].strip() == greedy


@QUIET_MLFLOW
def test_one_parent_run_and_a_child_an_iteration_in_mlflow(small_run):
    from mlflow import MlflowClient

    home, status, _ = small_run
    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("starloop").experiment_id])
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(runs) == 4
    assert len(children) == 3
    (parent,) = [run for run in runs if run not in children]
    curve = {point.step: point.value for point in client.get_metric_history(parent.info.run_id, "held_out_accuracy")}
    assert curve == pytest.approx({one["iteration"]: one["held_out_accuracy"] for one in status["iterations"]})


def counts(home: Path) -> dict[str, int]:
    """Rows a table, events and MLflow's tables aside."""
    with duckdb.connect(str(home / "lineage.duckdb"), read_only=True) as connection:
        tables = [name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()]
        return {
            name: connection.execute(f"select count(*) from {name}").fetchone()[0] for name in tables if name != "event"
        }


def mlflow_counts(home: Path) -> dict[str, int]:
    import sqlite3

    with sqlite3.connect(home / "mlflow.db") as connection:
        return {
            table: connection.execute(f"select count(*) from {table}").fetchone()[0]
            for table in ("runs", "metrics", "model_versions", "logged_models", "inputs")
        }


def test_a_second_run_redoes_nothing_and_doubles_nothing(small_run, starloop, tmp_path):
    home = shutil.copytree(small_run[0], tmp_path / "home")
    before, tracked, shown = counts(home), mlflow_counts(home), status_of(starloop, home)
    again = starloop("run", "star", "--preset", "addition-smoke", home=home)
    assert again.returncode == 0, again.stderr
    after = status_of(starloop, home)
    assert sum(one["tasks_run"] for one in after["iterations"]) == 0
    assert sum(one["tasks_cached"] for one in after["iterations"]) > 20
    assert counts(home) == before
    assert mlflow_counts(home) == tracked
    for old, new in zip(shown["iterations"], after["iterations"], strict=True):
        assert {k: v for k, v in old.items() if k in SUMMARY - {"tasks_run", "tasks_cached", "wall_s"}} == {
            k: v for k, v in new.items() if k in SUMMARY - {"tasks_run", "tasks_cached", "wall_s"}
        }


def test_more_iterations_go_on_with_the_same_run(small_run, starloop, tmp_path):
    home = shutil.copytree(small_run[0], tmp_path / "home")
    done = starloop("run", "star", "--preset", "addition-smoke", "--iterations", "3", home=home)
    assert done.returncode == 0, done.stderr
    status = status_of(starloop, home)
    ran = Counter({one["iteration"]: one["tasks_run"] for one in status["iterations"]})
    assert [ran[iteration] for iteration in (0, 1, 2)] == [0, 0, 0]
    assert ran[3] > 0
    assert len(json.loads(starloop("status", "--json", home=home).stdout)) == 1


def test_adapters_are_trained_sampled_from_and_registered(small_run, starloop, tmp_path):
    home = shutil.copytree(small_run[0], tmp_path / "home")
    settings = [
        "--set",
        "training.method=lora",
        "--set",
        "training.lora_rank=4",
        "--set",
        "training.learning_rate=0.01",
    ]
    done = starloop("run", "star", "--preset", "addition-smoke", *settings, "--set", "name=adapters", home=home)
    assert done.returncode == 0, done.stderr
    status = status_of(starloop, home)
    with Lineage.open(Home(home)) as lineage:
        kinds = [lineage.checkpoint(one["checkpoint_id"]).kind for one in status["iterations"]]
        writers = {
            checkpoint.hex
            for (checkpoint,) in rows(
                lineage,
                f"select distinct checkpoint_id from v_attempt where run_id = '{status['run_id']}' and iteration = 2",
            )
        }
    assert kinds == ["full", "adapter", "adapter"]
    assert writers == {status["iterations"][1]["checkpoint_id"], status["iterations"][2]["checkpoint_id"]}
    assert all(one["mlflow_version"] for one in status["iterations"])
    adapter = home / "checkpoints" / status["iterations"][1]["checkpoint_id"]
    assert not (adapter / "model.safetensors").exists()


def test_a_token_limit_stops_cleanly_and_more_goes_on(small_run, starloop, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(small_run[0], home)
    limit = str(small_run[1]["iterations"][0]["tokens"] + 1)
    limited = starloop("run", "star", "--preset", "addition-smoke", "--set", "seed=5", "--max-tokens", limit, home=home)
    assert limited.returncode == 0, limited.stderr
    assert f"the limit was {limit}); give more to go on" in limited.stdout
    stopped = status_of(starloop, home)
    assert stopped["state"] == "stopped"
    assert 0 < len(stopped["iterations"]) < 3
    more = starloop("run", "star", "--preset", "addition-smoke", "--set", "seed=5", home=home)
    assert more.returncode == 0, more.stderr
    finished = status_of(starloop, home)
    assert (finished["state"], finished["run_id"]) == ("completed", stopped["run_id"])
    assert len(finished["iterations"]) == 3


def test_a_run_branches_from_a_checkpoint(small_run, starloop, tmp_path):
    home = shutil.copytree(small_run[0], tmp_path / "home")
    checkpoint = small_run[1]["iterations"][1]["checkpoint_id"]
    done = starloop(
        "run", "star", "--preset", "addition-smoke", "--from", f"ckp_{checkpoint[:12]}", "--iterations", "1", home=home
    )
    assert done.returncode == 0, done.stderr
    status = status_of(starloop, home)
    assert status["run_id"] != small_run[1]["run_id"]
    assert status["iterations"][0]["checkpoint_id"] == checkpoint
    with Lineage.open(Home(home)) as lineage:
        assert lineage.checkpoint(status["iterations"][1]["checkpoint_id"]).parent_id == checkpoint


def test_preview_shows_prompt_hint_answer_verdict_and_loss_mask(small_run, starloop):
    shown = starloop("preview", "star", "--preset", "addition-smoke", home=small_run[0]).stdout
    prompt = next(line.split()[-1] for line in shown.splitlines() if line.strip().startswith("prompt"))
    hinted = next(line.split()[-1] for line in shown.splitlines() if line.strip().startswith("hinted prompt"))
    assert hinted.endswith(f"?{prompt}")
    assert "sums: passed" in shown or "sums: failed" in shown
    assert f"sampled from ckp_{small_run[1]['iterations'][-1]['checkpoint_id'][:8]} (the last of this run)" in shown
    assert "12 tokens without loss" in shown
    assert "the end-of-text token among them" in shown


def test_doctor_finds_this_machine_fit(small_run, starloop):
    looked = starloop("doctor", "--preset", "addition-smoke", home=small_run[0])
    assert looked.returncode == 0, looked.stdout
    assert "can be written" in looked.stdout


def test_a_csv_of_the_ledger_is_only_csv(small_run, starloop):
    answer = starloop("sql", "select iteration, attempts from v_yield order by 1", "--csv", home=small_run[0])
    assert answer.stdout.splitlines()[0].split(",") == ["iteration", "attempts"]
    assert answer.stderr == ""
