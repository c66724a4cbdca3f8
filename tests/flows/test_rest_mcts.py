"""ReST-MCTS* on the embedded model: one small real run, its trees, its value models and its report."""

import re
import shutil

import pytest

from flows.plan import plan
from flows.refs import check
from flows.resolving import resolve
from storage.errors import UserMistake
from storage.home import Home
from storage.ledger import Ledger
from storage.lineage import Lineage
from storage.trees import nodes, trees
from tests.problems.test_public_sets import DATA, needs_data
from tests.small_run import once, status_of

pytestmark = pytest.mark.slow

SMALL = {
    "problems": "addition:1-2", "problems_per_iteration": 24, "iterations": 2, "search.rounds": 12, "zpd": "off",
    "model.layers": 2, "model.corpus_documents": 3000, "model.pretraining.steps": 300, "model.pretraining.learning_rate": 5e-3,
    "value.problems": 24, "value.samples": 4, "value.training.steps": 40, "training.steps": 6,
    "evaluation.dev_problems": 40, "evaluation.test_problems": 40, "name": "<b>trees</b>",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(starloop, tmp_path_factory):
    """The home of a finished run, and its status."""

    def make(folder):
        home = folder / "home"
        sets = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
        done = starloop("run", "rest_mcts", "--preset", "addition-mcts", *sets, home=home)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return home, status_of(starloop, home)

    return once(tmp_path_factory, "rest-mcts", make)


@pytest.fixture
def lineage(run):
    with Lineage.open(Home(run[0])) as opened:
        yield opened


def values(lineage, query):
    return lineage.query(query, limit=None).rows


def test_every_iteration_searches_with_the_value_model_of_the_one_before(run, lineage):
    status = run[1]
    assert status["state"] == "completed"
    assert [one["iteration"] for one in status["iterations"]] == [0, 1, 2]
    fitted = dict(
        values(
            lineage,
            "select o.iteration || ' ' || o.step, c.checkpoint_id from v_output o "
            "join checkpoint c on c.checkpoint_id = o.id where o.table_name = 'checkpoint' and c.kind = 'value'",
        )
    )
    assert set(fitted) == {"1 fit first value", "1 fit value", "2 fit value"}
    used = values(
        lineage, "select distinct iteration, value_checkpoint_id from v_node where step = 'search' order by 1"
    )
    assert used == [(1, fitted["1 fit first value"]), (2, fitted["1 fit value"])]
    parents = dict(values(lineage, "select checkpoint_id, parent_id from checkpoint where kind = 'value'"))
    assert parents[fitted["2 fit value"]] == fitted["1 fit value"]


def test_the_policy_learns_from_right_solutions_of_trees_and_from_the_weights_before(lineage):
    judged = values(
        lineage,
        "select distinct a.passed, a.step from v_mix_source s join v_attempt a using (attempt_id) "
        "join v_output o on o.id = s.mix_id and o.iteration = a.iteration where o.step = 'mix' and s.attempt_id is not null",
    )
    assert judged == [(True, "search")]
    policies = values(
        lineage,
        "select o.iteration, c.checkpoint_id, c.parent_id from v_output o join checkpoint c on c.checkpoint_id = o.id "
        "where o.step in ('pre-train', 'fine-tune') order by 1",
    )
    assert [policy[2] for policy in policies] == [None, policies[0][1], policies[1][1]]


def test_the_value_model_learns_from_right_and_wrong_steps(lineage):
    worth = [
        float(value)
        for (value,) in values(
            lineage,
            "select x.completion from v_output o join mix_member m on m.mix_id = o.id join example x using (example_id) "
            "where o.table_name = 'mix' and o.step like '%value set'",
        )
    ]
    assert all(0 <= value <= 1 for value in worth)
    assert 0.0 in worth
    assert max(worth) > 0.9, "an end that adds no text shares its row with the step before it"


def test_trees_are_asked_for_by_iteration_and_node_by_node(run, lineage):
    found = [one for one in trees(lineage, run[1]["run_id"], 1) if one.step == "search"]
    assert len(found) == 24
    assert (
        sum(one.nodes for one in found)
        == values(lineage, "select (facts->>'nodes')::bigint from v_step where iteration = 1 and step = 'search'")[0][0]
    )
    largest = max(found, key=lambda one: one.nodes)
    rows = nodes(lineage, run[1]["run_id"], 1, largest.tree_id)
    assert [row.place for row in rows] == list(range(largest.nodes + 1))
    assert {row.parent_id for row in rows[1:]} <= {row.node_id for row in rows}
    assert sum(row.terminal for row in rows) == largest.solutions


def test_the_ledger_is_sound_and_rebuilds_with_its_trees(run, tmp_path):
    home = Home(shutil.copytree(run[0], tmp_path / "home"))
    ledger = Ledger(home)
    assert ledger.verify() == []
    with ledger.writer() as connection:
        before = connection.execute("from node order by all").fetchall()
    ledger.rebuild()
    with ledger.writer() as connection:
        assert connection.execute("from node order by all").fetchall() == before
    ledger.close()


def test_a_second_run_finds_everything_and_more_rounds_search_again(run, starloop, tmp_path):
    home = shutil.copytree(run[0], tmp_path / "home")
    sets = [part for name, value in SMALL.items() for part in ("--set", f"{name}={value}")]
    again = starloop("run", "rest_mcts", "--preset", "addition-mcts", *sets, home=home)
    assert again.returncode == 0, again.stderr
    assert [one["tasks_run"] for one in status_of(starloop, home)["iterations"]] == [0, 0, 0]
    planned = starloop(
        "plan", "rest_mcts", "--preset", "addition-mcts", *sets, "--set", "search.rounds=13", home=home, COLUMNS="200"
    )
    assert planned.returncode == 0, planned.stderr
    told = dict(re.findall(r"^ 1 ([a-z -]+?) {2,}\d+ +(\w+)", planned.stdout, re.MULTILINE))
    assert told["search"] == "how.rule.rounds" or "search" in told
    assert "hit" not in told["search"]


def test_two_trees_stand_in_the_report_with_every_text_escaped(run, starloop, tmp_path):
    out = tmp_path / "report.html"
    done = starloop("report", run[1]["run_id"], "--out", str(out), home=run[0])
    assert done.returncode == 0, done.stderr
    page = out.read_text()
    assert '<h2 id="trees-title">Trees that were searched</h2>' in page
    assert page.count('<ul class="branches">') in (1, 2)
    assert re.search(r'<li class="(right|wrong) (expanded|rolled|completed)"><code>', page)
    assert "<b>trees</b>" not in page


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"value.engine": "transformers"}, "reads no values; give one of: scripted, value"),
        ({"engine": "value"}, "reads what others wrote and writes nothing"),
        ({"engine": "vllm", "search.delimiter": "\n"}, "does not say whether a text ended at a step"),
        ({"value.training.method": "lora"}, "a value model is trained whole by one process"),
        ({"value.source": "embedded"}, "names no model"),
    ],
)
def test_what_a_search_cannot_work_with_is_refused_beforehand(settings, why):
    with pytest.raises(UserMistake, match=why):
        check(resolve("rest_mcts", "addition-mcts", settings))


@needs_data
def test_the_preset_for_real_hardware_can_be_planned_without_its_models(tmp_path, monkeypatch):
    monkeypatch.setenv("STARLOOP_DATA_DIR", str(DATA))
    few = {
        "problems_per_iteration": 20,
        "value.problems": 10,
        "evaluation.dev_problems": 20,
        "evaluation.test_problems": 20,
    }
    made = plan("rest_mcts", resolve("rest_mcts", "gsm8k-mcts-7b", few), Home.open(tmp_path / "home"), workers=1)
    steps = {(step.iteration, step.title): step for step in made.steps}
    assert steps[0, "take in value"].run == 1
    assert set(steps[1, "search"].waits_for) == {"0 take in", "1 fit first value"}
    assert set(steps[2, "search"].waits_for) == {"0 take in", "1 fine-tune", "1 fit value"}, "the first for its chat"
    assert [one.partition(" ")[0] for one in made.assumed] == ["Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-0.5B-Instruct"]
