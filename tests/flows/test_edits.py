"""Edit one thing, run again: exactly what depends on it is done, as `plan` said before and `why` says after.

Settings are edited as the arms of one real run on a finished home; code and texts in a copy of the source. What an edit
redoes is written down here as the steps that ran, by iteration.
"""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from storage.home import Home
from storage.lineage import Lineage
from tasks.problems.registry import load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"problems_per_iteration": 75, "cell_rows": 50, "rationalize_iterations": 2, "evaluation.dev_problems": 40,
         "evaluation.test_problems": 40, "samples": 8, "engine": "scripted:tests.answers:slipping"}  # fmt: skip


def different(count: int) -> int:
    """Problems among the first so many; short sums come round again."""
    return len({problem.problem_id for problem in load("addition:1-2").take("train", 0, count)})


FEW, MANY = different(75), different(175)
POSED = {"problems"}
GATHERED = {"sample", "verify", "audit"}
HINTED = {"rationalize", "verify rationalized", "audit rationalized"}
TRAINED = {"mix", "fine-tune"}
LOOKED = {"answer dev", "verify dev", "evaluate dev"}
TESTED = {"answer test", "verify test", "evaluate test"}
HEALTH = {"health"}
EVERYTHING = GATHERED | HINTED | TRAINED | LOOKED | HEALTH
FROM_ANOTHER_CHECKPOINT = {2: EVERYTHING | TESTED}


class Edit(NamedTuple):
    """Settings of an arm, the steps that it redoes by iteration, and how many attempts iteration 1 samples anew."""

    name: str
    set: dict[str, object]
    redone: dict[int, set[str]]
    sampled: int


EDITS = [
    Edit("as it was", {}, {}, 0),
    Edit("renamed", {"name": "another", "model_name": "another-model"}, {}, 0),
    Edit("12 samples", {"samples": 12}, {1: EVERYTHING} | FROM_ANOTHER_CHECKPOINT, FEW * 4),
    Edit("16 samples", {"samples": 16}, {1: EVERYTHING} | FROM_ANOTHER_CHECKPOINT, FEW * 4),
    Edit(
        "100 more problems, on a partial tail",
        {"problems_per_iteration": 175},
        {1: POSED | EVERYTHING, 2: POSED | EVERYTHING | TESTED},
        (MANY - FEW) * 8,
    ),
    Edit("temperature", {"sampling.temperature": 0.9}, {1: EVERYTHING} | FROM_ANOTHER_CHECKPOINT, FEW * 8),
    Edit("seed", {"seed": 1}, {1: EVERYTHING} | FROM_ANOTHER_CHECKPOINT, FEW * 8),
    Edit("learning rate", {"training.learning_rate": 2e-4}, {1: {"fine-tune"} | LOOKED | HEALTH} | FROM_ANOTHER_CHECKPOINT, 0),
    Edit(
        "evaluation set",
        {"evaluation.dev_problems": 60},
        {0: {"dev problems"} | LOOKED, 1: LOOKED | HEALTH, 2: LOOKED | HEALTH},
        0,
    ),
]  # fmt: skip


class CodeEdit(NamedTuple):
    """A replacement in a file of the source, and the steps that it redoes by iteration."""

    name: str
    file: str
    before: str
    after: str
    redone: dict[int, set[str]]


JUDGED = {"verify", "verify rationalized", "verify dev", "evaluate dev"}
BASE_JUDGED = {"verify dev", "evaluate dev", "verify test", "evaluate test"}
CODE_EDITS = [
    CodeEdit("a comment", "tasks/verifiers/sums.py", "    stated =", "    # The end of it.\n    stated =", {}),
    CodeEdit(
        "a verifier refactored", "tasks/verifiers/sums.py", "stated", "found",
        {0: BASE_JUDGED, 1: JUDGED | {"mix", "health"}, 2: JUDGED | {"mix", "health", "verify test", "evaluate test"}},
    ),
    CodeEdit(
        "a verifier that judges otherwise", "tasks/verifiers/sums.py", "    return Judgement(False, answer=answer, reason",
        "    if answer[-1] in '13579':\n        return Judgement(True, answer=answer)\n    return Judgement(False, answer=answer, reason",
        {0: BASE_JUDGED, 1: EVERYTHING - {"sample", "audit"}} | FROM_ANOTHER_CHECKPOINT,
    ),
    CodeEdit(
        "a prompt that nothing here shows", "tasks/prompts/templates/addition/answer.jinja", "A", "A0",
        {0: {"corpus mix"}, 1: {"mix"}, 2: {"mix"}},
    ),
    CodeEdit(
        "the trainer refactored", "tasks/training/rows.py", "places", "seats",
        {0: {"pre-train"}, 1: {"fine-tune"}, 2: {"fine-tune"}},
    ),
]  # fmt: skip


class Redone(NamedTuple):
    """What the edited runs really did, and what was planned for them."""

    home: Path
    facts: dict[str, dict]
    run_ids: dict[str, str]
    plan: dict


@pytest.fixture(scope="module")
def small_settings() -> list[str]:
    """The command of the unedited run."""
    return ["star", "--preset", "addition-smoke", *(part for name, value in SMALL.items()
                                                    for part in ("--set", f"{name}={json.dumps(value)}"))]  # fmt: skip


@pytest.fixture(scope="module")
def unedited(small_run, starloop, small_settings, tmp_path_factory) -> Path:
    """A home in which the unedited run is finished."""
    home = shutil.copytree(small_run[0], tmp_path_factory.mktemp("unedited") / "home")
    done = starloop("run", *small_settings, home=home)
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture(scope="module")
def edited(unedited, starloop, small_settings, tmp_path_factory) -> Redone:
    """Every edit of a setting as an arm of one run."""
    home = shutil.copytree(unedited, tmp_path_factory.mktemp("edited") / "home")
    command = [*small_settings, "--set", f"arms={json.dumps([{'name': e.name, 'set': e.set} for e in EDITS])}"]
    planned = starloop("plan", *command, "--json", home=home)
    assert planned.returncode == 0, planned.stderr
    plan = json.loads(planned.stdout)
    done = starloop("run", *command, home=home)
    assert done.returncode == 0, done.stderr
    run_ids = dict(zip([edit.name for edit in EDITS], plan["run_ids"], strict=True))
    with Lineage.open(Home(home), fresh=True) as lineage:
        return Redone(home, {name: lineage.run(run_id).facts for name, run_id in run_ids.items()}, run_ids, plan)


def ran(facts) -> dict[int, set[str]]:
    """Steps of which a cell ran, by iteration."""
    found: dict[int, set[str]] = {}
    for step in facts["steps"]:
        if step["tasks_run"]:
            found.setdefault(step["iteration"], set()).add(step["step"])
    return found


def sampled(facts, iteration) -> int:
    """Attempts that the step `sample` asked an engine for."""
    return sum(
        step["asked"] - step["reused"]
        for step in facts["steps"]
        if step["step"] == "sample" and step["iteration"] == iteration
    )


def assert_as_planned(steps, facts):
    """What ran was planned to run or to depend; what was planned to run ran."""
    done = ran(facts)
    assert len(steps) == len(facts["steps"])
    for step in steps:
        did = step["title"] in done.get(step["iteration"], set())
        assert step["run"] == 0 or did, step
        assert not did or step["run"] + step["depends"], step


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_an_edited_setting_redoes_exactly_what_depends_on_it(edited, edit):
    facts = edited.facts[edit.name]
    assert len(facts["steps"]) > 25
    assert ran(facts) == edit.redone
    assert sampled(facts, 1) == edit.sampled


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_a_plan_says_beforehand_what_runs(edited, edit):
    assert_as_planned([step for step in edited.plan["steps"] if step["arm"] == edit.name], edited.facts[edit.name])


def test_a_plan_counts_the_attempts_that_are_not_stored(edited):
    for edit in EDITS:
        planned = [
            step["estimate"]["attempts"] for step in edited.plan["steps"]
            if (step["arm"], step["iteration"], step["title"]) == (edit.name, 1, "sample")
        ]  # fmt: skip
        assert [(one["low"], one["high"]) for one in planned] in (
            [(edit.sampled, edit.sampled)],
            [(FEW * 8 if edit.name == "16 samples" else edit.sampled,) * 2],
        )


@pytest.mark.parametrize(
    ("arm", "step", "what", "after"),
    [
        ("learning rate", "fine-tune", "recipe.learning_rate", "0.0002"),
        ("temperature", "mix", "sampling.temperature", "0.9"),
        ("16 samples", "fine-tune", "samples", "16"),
    ],
)
def test_why_names_the_setting_that_a_step_ran_for(edited, starloop, arm, step, what, after):
    said = starloop("why", edited.run_ids[arm], step, "--iteration", "1", "--json", home=edited.home)
    reasons = json.loads(said.stdout)
    assert reasons[0]["step"] == step
    assert (what, after) in [(one["what"], one["after"]) for one in reasons[-1]["differences"]]
    shown = starloop("why", edited.run_ids[arm], step, home=edited.home)
    assert what in shown.stdout


def source_with(edit: CodeEdit, folder: Path) -> Path:
    """A copy of the source in which a file was edited."""
    for package in ("flows", "storage", "tasks"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / edit.file
    text = file.read_text()
    assert edit.before in text
    file.write_text(text.replace(edit.before, edit.after))
    return folder


@pytest.mark.parametrize("edit", CODE_EDITS, ids=lambda edit: edit.name)
def test_edited_code_redoes_exactly_what_depends_on_it(unedited, starloop, small_settings, edit, tmp_path):
    home = shutil.copytree(unedited, tmp_path / "home")
    source = source_with(edit, tmp_path / "source")
    plan = json.loads(starloop("plan", *small_settings, "--json", home=home, PYTHONPATH=str(source)).stdout)
    done = starloop("run", *small_settings, home=home, PYTHONPATH=str(source))
    assert done.returncode == 0, done.stderr
    with Lineage.open(Home(home), fresh=True) as lineage:
        facts = lineage.run(plan["run_ids"][0]).facts
    assert ran(facts) == edit.redone
    assert_as_planned(plan["steps"], facts)
    if edit.redone:
        assert "planned " in done.stdout
        assert "otherwise than planned" not in done.stdout
        causes = {cause for step in plan["steps"] for cause in step["outside"]}
        assert len(causes) == 1
        assert Path(edit.file).stem in causes.pop() or edit.file.endswith(".jinja")


def test_adopting_a_refactored_verifier_redoes_nothing(unedited, starloop, small_settings, tmp_path):
    home = shutil.copytree(unedited, tmp_path / "home")
    source = str(source_with(CODE_EDITS[1], tmp_path / "source"))
    with Lineage.open(Home(home), fresh=True) as lineage:
        run_id = lineage.runs()[0].run_id
    for step in ("verify", "verify rationalized", "verify dev", "verify test"):
        adopted = starloop("adopt", run_id, step, "--reason", "only a name changed", home=home, PYTHONPATH=source)
        assert adopted.returncode == 0, adopted.stderr
    done = starloop("run", *small_settings, home=home, PYTHONPATH=source)
    assert done.returncode == 0, done.stderr
    with Lineage.open(Home(home), fresh=True) as lineage:
        latest = lineage.runs()[0]
        assert ran(latest.facts) == {}
        assert lineage.query("select count(*) from v_event where kind = 'adopted'").rows[0][0] > 5
