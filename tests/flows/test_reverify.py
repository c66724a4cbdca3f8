"""Reverification on a real run: a user's verifier changes, stored attempts are judged again, and what stood on it is found."""

import json
import os
import shutil
from pathlib import Path

import pytest

from flows.cli.report import latest
from flows.reverify import ReverifyRequest, reverify, selection
from flows.watched import listener
from storage.errors import UserMistake
from storage.home import Home
from storage.judged import versions
from storage.lineage import Lineage

pytestmark = pytest.mark.slow

FIRST = """
from tasks.verifiers.protocol import Judgement
from tasks.verifiers.sums import verify as sums

def verify(text, problem):
    return sums(text, problem)
"""
TIDIED = """
\"\"\"Whether a sum is right.\"\"\"
from tasks.verifiers import sums
from tasks.verifiers.protocol import Judgement

def verify(text: str, problem):
    judgement = sums.verify(text, problem)  # the same outcome, by another way
    return judgement
"""
STRICTER = """
from tasks.verifiers.protocol import Judgement
from tasks.verifiers.sums import verify as sums

def verify(text, problem):
    if problem.gold.endswith("7"):
        return Judgement(False, reason="[bold]no sevens[/bold]")
    return sums(text, problem)
"""


MADE = "select (select count(*) from attempt), (select count(*) from training)"
"""What costs something to make."""


class Quiet:
    """Listens, and says nothing."""

    def said(self, text: str) -> None: ...
    def step_started(self, iteration: int, title: str, cells: int) -> None: ...
    def step_done(self, step: object) -> None: ...
    def iteration_done(self, iteration: object) -> None: ...

    def run_done(self, run: object) -> None: ...
    def advance(self, step: str, done: int, total: int) -> None: ...


@pytest.fixture(scope="module")
def checked(starloop, small_run, tmp_path_factory):
    """A copy of the small run, run again with a user's own verifier; only its verdicts are new, nothing is generated or trained."""
    folder = tmp_path_factory.mktemp("checked")
    home = folder / "home"
    shutil.copytree(small_run[0], home)
    (folder / "user_checks").mkdir()
    (folder / "user_checks" / "__init__.py").write_text("")
    code = folder / "user_checks" / "checks.py"
    code.write_text(FIRST)
    environment = {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}

    def call(*arguments: str):
        return starloop(*arguments, home=home, **environment)

    before = asked(home, MADE)
    done = call("run", "star", "--preset", "addition-smoke", "--set", f"verifier={VERIFIER}")
    assert done.returncode == 0, done.stderr
    assert asked(home, MADE) == before
    return home, code, call


VERIFIER = "user_checks.checks:verify"


def reverified(call, *arguments: str) -> dict:
    done = call("reverify", "--verifier", VERIFIER, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def asked(home: Path, query: str):
    with Lineage.open(Home(home), fresh=True) as lineage:
        return lineage.query(query, limit=None).rows


def test_a_refactor_without_changed_outcomes_taints_nothing(checked):
    home, code, call = checked
    code.write_text(TIDIED)
    found = reverified(call)
    assert found["cells_cached"] == 0
    assert found["attempts"] > 0
    assert (found["flips"], found["examples"], found["checkpoints"], found["evaluations"]) == ([], [], [], [])
    assert len(asked(home, f"select 1 from v_verifier_version where verifier = '{VERIFIER}'")) == 2


def test_a_stricter_verifier_flips_verdicts_and_taints_what_stood_on_them(checked):
    home, code, call = checked
    generated = asked(home, "select count(*) from attempt")
    code.write_text(STRICTER)
    found = reverified(call)
    assert found["cells_cached"] == 0
    assert found["flips"]
    assert {flip["gold"][-1] for flip in found["flips"]} == {"7"}
    assert {(flip["was"], flip["now"]) for flip in found["flips"]} == {(True, False)}
    trained = asked(home, "select distinct checkpoint_id from v_iteration where iteration > 0")
    assert {one["checkpoint_id"] for one in found["checkpoints"]} <= {row[0].hex for row in trained}
    assert found["checkpoints"]
    assert found["evaluations"]
    assert asked(home, "select count(*) from attempt") == generated
    wrong = asked(
        home,
        "select count(*) from v_taint t join problem p using (problem_id) where p.gold not like '%7' or t.now or not t.was",
    )
    assert wrong == [(0,)]
    (run,) = asked(home, f"select run_id from run where method = 'star' and config->>'verifier' = '{VERIFIER}'")
    done = call("reverify", "--run", run[0].hex[:10], "--limit", "2")
    assert done.returncode == 0, done.stderr
    assert "cached" in done.stdout
    assert "passed → failed" in done.stdout
    assert "[bold]no sevens[/bold]" in done.stdout
    assert "--limit 0 shows all" in done.stdout
    assert "checkpoint ckp_" in done.stdout


@pytest.mark.usefixtures("prefect_server")
def test_unchanged_code_finds_every_verdict_cached(small_run, tmp_path):
    home = Home(tmp_path / "home")
    shutil.copytree(small_run[0], home.root)
    token = listener.set(Quiet())
    try:
        run_id = reverify(ReverifyRequest(verifier="sums", home=str(home.root)))
    finally:
        listener.reset(token)
    with Lineage.open(home) as lineage:
        run = lineage.run(run_id)
        assert (run.method, run.state) == ("reverify", "completed")
        assert run.facts["cells"] == run.facts["cells_cached"] > 0
        assert run.facts["why"].endswith("0 flips")
        assert all(step.hit for step in lineage.steps(run_id))
        assert latest(lineage) != run_id


def test_a_verifier_that_judged_nothing_is_a_mistake_that_names_those_that_did(small_run):
    home = Home(small_run[0])
    with pytest.raises(UserMistake, match=r"there is no verdict by exact; there are verdicts by: .*sums@"):
        selection(home, ReverifyRequest(verifier="exact"))
    with pytest.raises(UserMistake, match=r"there is no verdict by sums@0000"):
        selection(home, ReverifyRequest(verifier="sums@0000000000"))
    with pytest.raises(UserMistake, match="--verifier"):
        selection(home, ReverifyRequest())


def test_a_stored_version_selects_its_own_cells(small_run):
    home = Home(small_run[0])
    with Lineage.open(home) as lineage:
        (version,) = [name for name in versions(lineage) if name.startswith("sums@")]
    whole, one = (selection(home, ReverifyRequest(verifier=name)) for name in ("sums", version))
    assert [cell.attempts for cell in one.cells] == [cell.attempts for cell in whole.cells]
    assert {cell.version for cell in one.cells} == {version}
