"""Promotion on a real run: the gates refuse and pass, MLflow's alias moves, and ledger and registry agree afterwards."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.aliases import reconcile
from flows.promote import PromoteRequest, promote
from flows.rollback import rollback
from flows.watched import listener
from storage.errors import PromotionRefused, ServerFault, UserMistake
from storage.home import Home
from storage.ledger import Ledger
from storage.lineage import Lineage
from storage.promotions import Alias, Promotion, history, holder, promotions, recorded

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:The ``noload`` loader strategy is deprecated"
    ),  # by MLflow's own database models
]

MODEL = "addition-smoke"
CHAMPION = Alias("home", MODEL, "champion")
EASY: dict[str, Any] = {"alpha": 1.0, "min_effect": -1.0, "max_drop": 1.0}
"""Limits that a run whose figures mean nothing is within, as far as it is better at all."""


class Heard:
    """Keeps what was said."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def said(self, text: str) -> None:
        self.sentences.append(text)

    def step_started(self, iteration: int, title: str, cells: int) -> None: ...
    def step_done(self, step: object) -> None: ...
    def iteration_done(self, iteration: object) -> None: ...

    def run_done(self, run: object) -> None: ...
    def advance(self, step: str, done: int, total: int) -> None: ...


class Bench:
    """A copy of the small run, and what is asked of it."""

    def __init__(self, root: Path, status: dict[str, Any]) -> None:
        self.home = Home(root)
        self.status = status
        self.checkpoints = [one["checkpoint_id"] for one in status["iterations"]]
        self.heard = Heard()

    def promote(self, what: str, **settings: Any) -> Promotion:
        token = listener.set(self.heard)
        try:
            identity = promote(PromoteRequest(what=what, home=str(self.home.root), **settings))
        finally:
            listener.reset(token)
        return next(one for one in self.promotions if one.promotion_id == identity)

    def force(self, what: str, **settings: Any) -> Promotion:
        return self.promote(what, force=True, reason="for a test", **settings)

    def rollback(self, **settings: Any) -> Promotion:
        return rollback(self.home, self.heard, "champion", **settings)

    def reconcile(self) -> None:
        ledger = Ledger(self.home)
        try:
            reconcile(self.home, ledger, self.heard)
        finally:
            ledger.close()

    @property
    def promotions(self) -> list[Promotion]:
        with Lineage.open(self.home, fresh=True) as lineage:
            return promotions(lineage)

    @property
    def rows(self) -> list[Promotion]:
        ledger = Ledger(self.home)
        try:
            return recorded(ledger)
        finally:
            ledger.close()

    def mlflow(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.home.mlflow_db}?mode=ro", uri=True, timeout=10)) as database:
            return database.execute(sql).fetchall()

    @property
    def champion(self) -> int | None:
        """Who is champion in MLflow."""
        found = self.mlflow("select version from registered_model_aliases where alias = 'champion'")
        return found[0][0] if found else None

    def agree(self) -> bool:
        """Whether the ledger says of the champion what MLflow says."""
        known = holder(self.rows, CHAMPION)
        return (known.version if known else None) == self.champion

    def by_hand(self, do: Callable[[Any], None]) -> None:
        """What a person does in MLflow's own pages."""
        from mlflow import MlflowClient

        do(MlflowClient(f"sqlite:///{self.home.mlflow_db}"))


@pytest.fixture
def bench(small_run, tmp_path: Path, prefect_server: str, warm: str, monkeypatch) -> Bench:
    monkeypatch.setenv("STARLOOP_WARM", warm)
    home = shutil.copytree(small_run[0], tmp_path / "home")
    return Bench(home, small_run[1])


def test_mlflow_and_the_ledger_lead_to_each_other(bench: Bench):
    with Lineage.open(bench.home) as lineage:
        run = lineage.runs()[0]
        mixes = {one.figures["mix_id"] for one in lineage.iterations(run.run_id) if one.iteration > 0}
    loop = dict(
        bench.mlflow(
            "select key, value from tags where run_uuid = (select run_uuid from tags where value = 'loop' and key = 'starloop.kind')"
        )
    )
    assert (loop["starloop.id"], loop["starloop.run"]) == (run.run_id, f"run_{run.run_id}")
    assert loop["prefect.flow_run_id"] == run.prefect_flow_run_id
    assert f"starloop promote run_{run.run_id[:8]}" in loop["mlflow.note.content"]
    assert {digest for (digest,) in bench.mlflow("select digest from datasets")} == mixes
    assert {value for (value,) in bench.mlflow("select value from tags where key = 'starloop.mix'")} == {
        f"mix_{one}" for one in mixes
    }
    tokens = [
        value
        for (value,) in bench.mlflow("select distinct value from metrics where key = 'tokens_so_far' order by step")
    ]
    assert len(tokens) == 3
    assert tokens == sorted(tokens)


def test_a_gate_refuses_with_its_figures_and_the_alias_stays(bench: Bench):
    with pytest.raises(
        PromotionRefused, match=r"is not promoted to addition-smoke@champion: .*effect: .* short of \+50.0 points"
    ):
        bench.promote("latest", min_effect=0.5)
    (refused,) = bench.promotions
    assert (refused.state, refused.checkpoint_id, bench.champion) == ("refused", bench.checkpoints[-1], None)
    gates = {one["gate"]: one for one in refused.gates}
    assert list(gates) == ["significance", "effect", "regression", "contamination", "verdicts", "digest", "answers"]
    assert not gates["effect"]["passed"]
    assert gates["effect"]["figures"]["min_effect"] == 0.5
    assert {
        name: gates[name]["passed"] for name in ("regression", "contamination", "verdicts", "digest", "answers")
    } == dict.fromkeys(("regression", "contamination", "verdicts", "digest", "answers"), True)
    assert gates["answers"]["figures"] == {"same": 10, "asked": 10}
    assert gates["contamination"]["figures"]["mixes"] == 3
    assert refused.looks == 2, "the base and the final checkpoint, as the run itself looked at them"
    with Lineage.open(bench.home) as lineage:
        run = lineage.run(str(refused.judged_in))
        assert all(step.hit for step in lineage.steps(run.run_id)), "what the run has measured is found cached"
        assert run.facts["promotion"]["test"]["n"] == bench.status["final_test"]["n"]


def test_a_champion_is_made_beaten_and_rolled_back(bench: Bench):
    """The worse of the two is made champion by force, is beaten by evidence alone or by force, and comes back."""
    first = bench.force(bench.checkpoints[1], **EASY)
    assert (first.state, first.version, bench.champion, bench.agree()) == ("done", 2, 2, True)
    tags = dict(bench.mlflow("select key, value from model_version_tags where version = 2"))
    assert tags["starloop.promotion_id"] == f"prm_{first.promotion_id}"
    assert tags["starloop.gate.answers"] == "passed: 10 of 10 recorded greedy answers come out the same from MLflow"
    second = bench.force("latest", **EASY)
    assert (second.version, second.previous_version, second.previous_checkpoint_id) == (3, 2, bench.checkpoints[1])
    assert second.looks == 3, "the first champion's look at the test problems counts too"
    assert bench.promote("latest").promotion_id == second.promotion_id, "again changes nothing"
    assert "version 3 is addition-smoke@champion already" in bench.heard.sentences[-1]

    back = bench.rollback(reason="it was worse in use")
    assert (back.action, back.version, back.previous_version, back.reason) == ("rollback", 2, 3, "it was worse in use")
    assert (bench.champion, bench.agree()) == (2, True)
    with pytest.raises(UserMistake, match="nobody held addition-smoke@champion before"):
        bench.rollback()
    ledger = Ledger(bench.home)
    before = recorded(ledger)
    ledger.rebuild()
    assert recorded(ledger) == before
    ledger.close()


def test_the_champion_answers_as_anybody_loads_it(bench: Bench):
    import mlflow

    bench.force("latest")
    mlflow.set_tracking_uri(f"sqlite:///{bench.home.mlflow_db}")
    try:
        pipeline = mlflow.transformers.load_model(f"models:/{MODEL}@champion")
    finally:
        mlflow.set_tracking_uri(None)
    with Lineage.open(bench.home) as lineage:
        asked = lineage.rows(
            "select p.text, a.text from evaluation e join evaluation_item i using (evaluation_id) join attempt a using (attempt_id) "
            "join prompt p using (prompt_id) where e.split = 'test' and e.checkpoint_id = ? order by i.problem_id limit 3",
            [bench.checkpoints[-1]],
        )
    for prompt, answer in asked:
        assert (
            pipeline(prompt, max_new_tokens=40, do_sample=False, return_full_text=False)[0]["generated_text"] == answer
        )


def test_an_alias_moved_by_hand_is_noticed_and_can_be_rolled_back(bench: Bench):
    bench.force("latest")
    bench.by_hand(lambda client: client.set_registered_model_alias(MODEL, "champion", "1"))
    assert not bench.agree()
    bench.reconcile()
    noticed = bench.promotions[-1]
    assert (noticed.state, noticed.action, noticed.version, noticed.previous_version) == ("noticed", "by hand", 1, 3)
    assert noticed.checkpoint_id == bench.checkpoints[0]
    assert "moved by hand, from version 3 to version 1" in bench.heard.sentences[-1]
    bench.reconcile()
    assert len(bench.promotions) == 2, "once"
    bench.by_hand(lambda client: client.delete_registered_model_alias(MODEL, "champion"))
    bench.reconcile()
    assert (bench.promotions[-1].version, bench.agree()) == (None, True)
    assert bench.rollback().version == 1


def test_a_version_that_a_person_deleted_is_made_again(bench: Bench):
    bench.by_hand(lambda client: client.delete_model_version(MODEL, "3"))
    ((loop,),) = bench.mlflow("select run_uuid from tags where key = 'starloop.kind' and value = 'loop'")
    bench.by_hand(lambda client: client.delete_run(loop))
    assert bench.force("latest").version == 4
    assert (bench.champion, bench.agree()) == (4, True)


def test_a_store_that_was_made_anew_gets_its_champion_back(bench: Bench):
    from tasks.tracking import deliver

    bench.force("latest")
    bench.home.mlflow_db.unlink()
    shutil.rmtree(bench.home.mlartifacts)
    bench.reconcile()
    assert deliver(bench.home.root).warnings == ()
    assert bench.champion is None
    bench.reconcile()
    assert (bench.champion, bench.agree()) == (3, True)
    assert [one.action for one in history(bench.rows, CHAMPION)] == ["restore"]


def test_a_checkpoint_whose_files_were_changed_is_refused(bench: Bench):
    weights = bench.home.checkpoints / bench.checkpoints[-1] / "model.safetensors"
    data = bytearray(weights.read_bytes())
    weights.unlink()  # MLflow's copy is another name of the same file
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(PromotionRefused, match=r"digest: checkpoint .* holds weights with other content"):
        bench.promote("latest", **EASY)


@pytest.mark.parametrize(
    ("what", "settings", "said"),
    [
        ("latest", {"to": "champoin"}, "has no alias 'champoin'; it has: champion"),
        ("latest", {"to": "candidate"}, "candidate is what every run calls its newest checkpoint"),
        ("latest", {"to": "v3"}, "'v3' cannot be an alias in MLflow"),
        ("latest", {"force": True}, 'a forced promotion needs its reason; say it with --reason "…"'),
        ("ffffffff", {}, "no id 'ffffffff'"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(bench: Bench, what, settings, said):
    with pytest.raises(UserMistake, match=said):
        bench.promote(what, **settings)
    assert bench.promotions == []


def test_nothing_is_decided_while_mlflow_does_not_answer(bench: Bench, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for ask in (lambda: bench.promote("latest"), bench.rollback):
        with pytest.raises(
            (ServerFault, UserMistake), match=r"MLflow at http://127.0.0.1:9 does not answer|no alias champion"
        ):
            ask()
    assert bench.promotions == []


def test_the_command_says_which_gate_refuses_and_fails(bench: Bench, starloop):
    done = starloop("promote", "latest", "--min-effect", "0.5", "--json", home=bench.home.root)
    assert done.returncode == 1
    assert "is not promoted to addition-smoke@champion" in done.stderr
    document = json.loads(done.stdout)
    assert [gate["gate"] for gate in document["gates"] if not gate["passed"]][-1] == "effect"
    assert document["state"] == "refused"
