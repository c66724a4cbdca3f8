"""What the README says about one's own verifier and problems, done from a folder that is not starloop's."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from storage.home import Home
from storage.lineage import Lineage
from tests.small_run import ROOT, status_of

pytestmark = pytest.mark.slow


def documented(what: str) -> list[str]:
    """The README's first command that says this, with the preset that takes a minute."""
    line = next(
        line for line in (ROOT / "README.md").read_text().splitlines() if what in line and "starloop run" in line
    )
    return shlex.split(line.replace("addition-quick", "addition-smoke"))[1:]


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder with a package, a file of questions, and a module whose name is also one of ours."""
    folder = tmp_path / "project"
    (folder / "mypackage").mkdir(parents=True)
    (folder / "tasks.py").write_text("raise SystemExit('not this one')")
    (folder / "mypackage" / "__init__.py").write_text("SHORTEST = 1\n")
    (folder / "mypackage" / "checks.py").write_text(
        "from mypackage import SHORTEST\n"
        "from tasks.verifiers import sums\n"
        "def verify(text, problem):\n"
        "    return sums.verify(text, problem) if len(text) >= SHORTEST else sums.verify('', problem)\n"
    )
    rows = [{"question": f"Is {n} odd?", "gold": "yes", "rationale": "yes", "split": split}
            for n, split in enumerate(["train"] * 40 + ["dev"] * 10 + ["test"] * 10)]  # fmt: skip
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def test_a_verifier_of_ones_own_judges(project, small_run, starloop, tmp_path):
    home = shutil.copytree(small_run[0], tmp_path / "home")
    done = starloop(*documented("mypackage"), home=home, cwd=project)
    assert done.returncode == 0, done.stderr
    status = status_of(starloop, home)
    with Lineage.open(Home(home)) as lineage:
        query = f"select distinct verifier from v_attempt where run_id = '{status['run_id']}'"
        assert lineage.query(query).rows == [("mypackage.checks:verify",)]
        parts = lineage.query(
            f"select key_parts from v_step where run_id = '{status['run_id']}' and step = 'verify' limit 1"
        ).rows[0][0]
    assert {"mypackage", "mypackage.checks"} <= set(json.loads(parts)["ingredients"]["verifier"]["modules"])
    assert [one["held_out_accuracy"] for one in status["iterations"]] == [
        one["held_out_accuracy"] for one in small_run[1]["iterations"]
    ]


def test_problems_of_ones_own_are_learned_by_an_embedded_model(project, starloop, tmp_path):
    home = tmp_path / "home"
    short = ["--iterations", "1", "--set", "model.pretraining.steps=60", "--set", "audit=none"]
    done = starloop(*documented("questions.jsonl"), *short, home=home, cwd=project)
    assert done.returncode == 0, done.stderr
    status = status_of(starloop, home)
    assert status["state"] == "completed"
    assert status["final_accuracy"] > 0.5
    base = home / "checkpoints" / status["iterations"][0]["checkpoint_id"]
    vocabulary = set(json.loads((base / "tokenizer.json").read_text())["model"]["vocab"])
    assert {"I", "?", "y", "3"} <= vocabulary
