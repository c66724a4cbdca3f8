"""The zone check: as a command of its own, and as what a loop does before it trains."""

import json
import os
import shutil
from contextlib import contextmanager

import pytest

from flows.resolving import resolve
from flows.star import improve
from flows.zpd import OutsideZone, ZpdRequest
from storage.errors import UserMistake
from storage.home import Home
from storage.lineage import Lineage
from tests.plain_loop import plain_loop

pytestmark = pytest.mark.slow


@pytest.fixture
def home(small_run, tmp_path):
    """A home with a base in it, and the base's id. One a test: what one script of a module said is not said again by another."""
    copied = shutil.copytree(small_run[0], tmp_path / "home")
    return copied, f"ckp_{small_run[1]['iterations'][0]['checkpoint_id']}"


def steps_of(home, run_id: str) -> dict[str, tuple[int, int]]:
    """Cells run and cached, by step."""
    with Lineage.open(Home(home), fresh=True) as lineage:
        facts = lineage.run(run_id).facts
    return {one["step"]: (one["tasks_run"], one["tasks_cached"]) for one in facts["steps"]}


def measured(starloop, home, *more: str):
    command = ["zpd", "--engine", "scripted:tests.answers:half", "--problems", "addition:1-2", "--model", home[1]]
    done = starloop(*command, "--max-tokens", "40", "--count", "60", "--json", *more, home=home[0])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_base_in_the_zone_is_measured_whole_and_only_once(starloop, home):
    zone = measured(starloop, home)
    assert zone["verdict"] == "in"
    assert zone["advice"][0] == "In the zone: go on."
    assert zone["n"] == 60
    assert zone["ci_low"] < zone["accuracy"] < zone["ci_high"]
    assert zone["accuracy"] == pytest.approx(0.5, abs=0.2)
    assert zone["tried_8"] == 60
    assert zone["pass_at_8"] > 0.9
    assert zone["failed"] == round(60 * (1 - zone["accuracy"]))
    assert 0.1 < zone["rationalization_rate"] < 0.9
    assert zone["tokens"] > 60 * 9 * 8
    ran = steps_of(home[0], zone["run_id"])
    assert {name for name in ran if name.startswith("zone")} == {
        "zone sample", "zone verify", "zone rationalize", "zone verify rationalized"
    }  # fmt: skip
    again = measured(starloop, home)
    assert again == zone
    assert all(run == 0 for run, _ in steps_of(home[0], again["run_id"]).values())


SMALL = {"problems_per_iteration": 20, "iterations": 1, "model.corpus_documents": 40, "evaluation.dev_problems": 60,
         "evaluation.test_problems": 20, "audit": "none"}  # fmt: skip


@contextmanager
def looped(folder, script: str, **settings):
    """A STaR loop on a script, run until it is done or told to stop; what it stopped for."""
    engine = script if script.startswith("scripted:") else f"scripted:tests.answers:{script}"
    config = resolve("star", "addition-smoke", SMALL | {"engine": engine} | settings)
    with plain_loop(config, folder) as loop:
        try:
            improve(loop)
            yield loop, ""
        except (OutsideZone, UserMistake) as why:
            yield loop, str(why)


def titles(loop) -> set[str]:
    return {one.title for one in loop.asked}


def test_a_loop_stops_before_it_trains_a_base_below_the_zone(tmp_path):
    with looped(tmp_path, "never", zpd="stop") as (loop, why):
        assert (loop.zone["verdict"], loop.zone["pass_at_8"], loop.zone["stops"]) == ("below", 0, True)
        assert "Eight samples solve 0 %: more samples alone will not do." in why
        assert "Even with the answer as a hint only 0 % of the failures are solved." in why
        assert {"zone sample", "zone rationalize"} <= titles(loop)
        assert not titles(loop) & {"sample", "mix", "fine-tune", "answer test"}


def test_a_loop_above_the_zone_is_asked_no_more(tmp_path):
    with looped(tmp_path, "always", zpd="stop") as (loop, why):
        assert loop.zone["verdict"] == "above"
        assert why.startswith("stopped before training: Above the zone: there is little to gain")
        assert why.endswith("--set zpd=warn goes on all the same")
        assert not titles(loop) & {"zone sample", "sample", "fine-tune"}


def test_a_loop_that_is_only_warned_goes_on(tmp_path):
    with looped(tmp_path, "always", zpd="warn") as (loop, why):
        assert not why
        assert loop.zone["verdict"] == "above"
        assert {"sample", "mix", "fine-tune"} <= titles(loop)


def test_a_set_without_gold_answers_is_not_checked(tmp_path):
    rows = [{"question": f"{n:05d}+{n + 1:05d}", "split": split}
            for n, split in enumerate(["train"] * 20 + ["dev"] * 10 + ["test"] * 10)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    answers = tmp_path / "answers.json"
    answers.write_text('{"*": "yes"}')
    settings = {"problems": f"jsonl:{tmp_path}/rows.jsonl", "verifier": "constraints:max_words=5", "zpd": "stop", "mix.self_share": 1,
                "mix.final_self_share": 1, "fresh_problems": False, "model.source": "somebody/something", "chat": "off"}  # fmt: skip
    with looped(tmp_path, f"scripted:{answers}", **settings) as (loop, why):
        assert not why
        assert loop.zone is None
        assert "zone sample" not in titles(loop)
        assert "the zone is not checked: the problems have no gold answers" in loop.listener.heard


def test_a_preset_of_a_loop_says_what_is_measured():
    config = ZpdRequest(preset="tutorial-arc", count=150).configuration()
    assert config.model.source == "Qwen/Qwen2.5-3B-Instruct"
    assert (config.problems, config.evaluation.dev_problems) == ("arc:challenge", 150)
    assert ZpdRequest(preset="tutorial-arc", model="ckp_1a2b").configuration().model.source == "ckp_1a2b"
    with pytest.raises(UserMistake, match=r"no preset 'none'; there are: addition-care"):
        ZpdRequest(preset="none").configuration()


def test_what_is_measured_must_be_said(starloop, home):
    done = starloop("zpd", "--engine", "transformers", home=home[0])
    assert done.returncode == 2
    assert done.stderr == "starloop: say what is measured: --problems and --model, or a --preset that names both\n"
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    gone = starloop("zpd", "--problems", "addition:1-2", "--model", "nobody/nothing", home=home[0])
    assert gone.returncode == 2
    assert "no model 'nobody/nothing'" in gone.stderr
