"""Reverification on a real run: a user's verifier changes, stored attempts are judged again, and what stood on it is found."""

import json
import os
import shutil
from pathlib import Path

import pytest

from storage.home import Home
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

    done = call("run", "star", "--preset", "addition-smoke", "--set", f"verifier={VERIFIER}")
    assert done.returncode == 0, done.stderr
    return home, code, call


VERIFIER = "user_checks.checks:verify"


def reverified(call, *arguments: str) -> dict:
    done = call("reverify", "--verifier", VERIFIER, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def asked(home: Path, query: str):
    with Lineage.open(Home(home), fresh=True) as lineage:
        return lineage.query(query, limit=None).rows


def test_unchanged_code_finds_every_verdict_cached(checked):
    _, code, call = checked
    code.write_text(FIRST)
    found = reverified(call)
    assert found["cells"] == found["cells_cached"] > 0
    assert (found["flips"], found["examples"]) == ([], [])


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
    again = reverified(call)
    assert again["cells"] == again["cells_cached"]
    assert again["flips"] == found["flips"]


def test_the_terminal_shows_flips_and_consequences_with_markup_escaped(checked):
    _, code, call = checked
    code.write_text(STRICTER)
    done = call("reverify", "--verifier", VERIFIER, "--limit", "2")
    assert done.returncode == 0, done.stderr
    assert "passed → failed" in done.stdout
    assert "[bold]no sevens[/bold]" in done.stdout
    assert "--limit 0 shows all" in done.stdout
    assert "checkpoint ckp_" in done.stdout


def test_one_run_alone_can_be_judged_again(checked):
    home, code, call = checked
    code.write_text(STRICTER)
    (run,) = asked(home, f"select run_id from run where method = 'star' and config->>'verifier' = '{VERIFIER}'")
    found = reverified(call, "--run", run[0].hex[:10])
    assert found["run"] == run[0].hex
    assert found["flips"]


def test_a_verifier_that_judged_nothing_is_a_mistake_that_names_those_that_did(checked):
    _, _, call = checked
    done = call("reverify", "--verifier", "exact")
    assert done.returncode == 2
    assert "there is no verdict by exact" in done.stderr
    assert "sums@" in done.stderr
    assert call("reverify").returncode == 2
