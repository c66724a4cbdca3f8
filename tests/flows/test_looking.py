"""Commands that look: they say what they find, and leave nothing behind."""

import json

import pytest

from flows.cli.doctor import fits_prefect, folder, writes
from flows.cli.main import call
from flows.cli.presets import settings_of
from flows.cli.preview import chosen, verdicts
from flows.resolving import presets, resolve
from storage.home import Home
from storage.ledger import Ledger
from storage.occupancy import at_work
from storage.records import Attempt, Problem
from tests.engines.misbehaving_server import MisbehavingServer, says
from tests.storage.small_loop import tell


def test_a_preview_before_the_first_run_shows_the_prompts_and_makes_no_home(tmp_path, capsys):
    assert call(["preview", "star", "--preset", "addition-smoke", "--home", str(tmp_path / "home")]) == 0
    shown = capsys.readouterr().out
    assert "hinted prompt" in shown
    assert "no checkpoint in this home yet" in shown
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_checkpoint_is_shown_with_the_newest_of_the_home_and_says_so(tmp_path):
    home = Home.open(tmp_path / "home")
    ledger = Ledger(home)
    told = tell(home, ledger)
    ledger.close()
    (home.checkpoints / told.ids["base"]).mkdir(exist_ok=True)
    found = chosen(home, "star", resolve("star", "addition-smoke", {}), None)
    assert found is not None
    assert found.which == "the newest in this home; this run has none yet"
    asked = chosen(home, "star", resolve("star", "addition-smoke", {}), f"ckp_{told.ids['base'][:8]}")
    assert asked is not None
    assert (asked.checkpoint_id, asked.which) == (told.ids["base"], "as asked for")


def test_a_preview_judges_as_a_run_does():
    """An attempt that failed is undecided, and no verifier is asked about it."""
    problem = Problem.of("addition:1-5", "train", "00001+00001", "000002")
    failed = Attempt("a" * 32, "b" * 32, problem.problem_id, "c" * 32, "d" * 32, "e", "{}", 0, 0, "A000002", "failed", 1, 0,
                     error="too long")  # fmt: skip
    assert verdicts("sums", problem, failed) == ["sums: undecided, read — because the attempt failed: too long"]


def test_the_doctor_looks_at_a_home_without_making_one(tmp_path):
    home, disk = folder(tmp_path / "deep" / "home", "addition-smoke")
    assert (home.found, home.fault) == (f"can be made: {tmp_path}/deep/home", "")
    assert not disk.fault
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    (unfit,) = folder(tmp_path / "file" / "home", "addition-smoke")
    assert "cannot be written; give another folder with STARLOOP_HOME" in unfit.fault


@pytest.mark.parametrize(
    ("version", "fits"),
    [("0.139.0", True), ("0.150.9", True), ("0.138.2", False), ("0.151", False), ("1.0", False), ("0.140rc1", True), ("dev", True)],
)  # fmt: skip
def test_any_version_of_fastapi_can_be_looked_at(version, fits):
    assert fits_prefect(version) is fits


def test_a_run_whose_process_is_gone_was_interrupted(tmp_path, capsys):
    home = Home.open(tmp_path / "home")
    ledger = Ledger(home)
    run_id = ledger.start_run(name="cut off", method="star", preset=None, config={}, run_id="a" * 32)
    ledger.close()

    def state() -> str:
        assert call(["status", "--json", "--home", str(home.root)]) == 0
        return json.loads(capsys.readouterr().out)[0]["state"]

    assert state() == "interrupted"
    with at_work(home):
        assert state() == "running"
    assert call(["status", run_id[:8], "--home", str(home.root)]) == 0
    assert "starloop resume run_aaaaaaaa goes on" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("preset", [name for name, one in presets().items() if one["method"] == "star"])
def test_every_setting_is_listed_under_the_name_that_set_takes(preset):
    found = settings_of("star", preset)
    assert {"samples", "training.learning_rate", "model.pretraining.steps", "stop.max_hours"} <= {s.name for s in found}
    given = {one.name: one.value for one in found if one.value is not None}
    assert resolve("star", None, given) == resolve("star", preset, {})
    assert [one.name for one in found if not one.fits] == []


def test_the_doctor_says_whether_a_served_engine_answers():
    with MisbehavingServer(lambda asked: says("4")) as server:
        ref = f"openai:{server.url}?model=m"
        assert writes(ref).found == f"openai openai chat m at {server.url}: it answers"
        assert server.asked == [], "nothing is written for it"
    assert "nobody answers there" in writes(ref).fault
    assert "no option 'modell'" in writes(f"{ref}&modell=m").fault
    assert not writes("transformers:dtype=bfloat16").fault
