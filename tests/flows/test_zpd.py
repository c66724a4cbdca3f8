"""The zone check: as a command of its own, and as what a loop does before it trains."""

import json
import os
import shutil

import pytest

from flows.zpd import ZpdRequest
from storage.errors import UserMistake
from storage.home import Home
from storage.lineage import Lineage
from tests.small_run import status_of

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


SETTINGS = ("problems_per_iteration=20", "iterations=1", "evaluation.dev_problems=60", "evaluation.test_problems=20")


def star(starloop, home, *settings: str):
    words = [word for setting in (f"model.source={home[1]}", *SETTINGS, *settings) for word in ("--set", setting)]
    return starloop("run", "star", "--preset", "addition-smoke", *words, home=home[0])


def facts_of(home) -> dict:
    """The newest run's facts."""
    with Lineage.open(Home(home[0]), fresh=True) as lineage:
        return lineage.runs()[0].facts


def test_a_loop_stops_before_it_trains_a_base_below_the_zone(starloop, home):
    done = star(starloop, home, "engine=scripted:tests.answers:never", "zpd=stop")
    assert done.returncode == 0, done.stderr
    facts = facts_of(home)
    assert (facts["zone"]["verdict"], facts["zone"]["pass_at_8"], facts["zone"]["stops"]) == ("below", 0, True)
    assert "Eight samples solve 0 %: more samples alone will not do." in facts["why"]
    assert "Even with the answer as a hint only 0 % of the failures are solved." in facts["why"]
    ran = {one["step"] for one in facts["steps"]}
    assert {"zone sample", "zone rationalize"} <= ran
    assert not ran & {"sample", "mix", "fine-tune", "answer test"}


def test_a_loop_above_the_zone_is_asked_no_more_and_goes_on_when_it_is_only_warned(starloop, home):
    stopped = star(starloop, home, "engine=scripted:tests.answers:always", "zpd=stop")
    assert stopped.returncode == 0, stopped.stderr
    run_id, facts = status_of(starloop, home[0])["run_id"], facts_of(home)
    assert facts["zone"]["verdict"] == "above"
    assert facts["why"].startswith("stopped before training: Above the zone: there is little to gain")
    assert facts["why"].endswith("--set zpd=warn goes on all the same")
    assert not {one["step"] for one in facts["steps"]} & {"zone sample", "sample", "fine-tune"}
    done = star(starloop, home, "engine=scripted:tests.answers:always", "zpd=warn")
    assert done.returncode == 0, done.stderr
    status = status_of(starloop, home[0])
    assert (status["run_id"], status["state"]) == (run_id, "completed")


def test_a_set_without_gold_answers_is_not_checked(starloop, home, tmp_path):
    rows = [{"question": f"{n:05d}+{n + 1:05d}", "split": split}
            for n, split in enumerate(["train"] * 20 + ["dev"] * 10 + ["test"] * 10)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    answers = tmp_path / "answers.json"
    answers.write_text('{"*": "yes"}')
    settings = (f"problems=jsonl:{tmp_path}/rows.jsonl", f"engine=scripted:{answers}", "verifier=constraints", "zpd=stop",
                "audit=none", "mix.self_share=1", "mix.final_self_share=1", "fresh_problems=false")  # fmt: skip
    done = star(starloop, home, *settings)
    with Lineage.open(Home(home[0]), fresh=True) as lineage:
        run = lineage.runs()[0]
    assert "zone" not in run.facts
    assert "zone sample" not in {one["step"] for one in run.facts["steps"]}
    assert "goes on all the same" not in done.stdout


def test_a_preset_of_a_loop_says_what_is_measured():
    config = ZpdRequest(preset="tutorial-arc", count=150).configuration()
    assert config.model.source == "Qwen/Qwen2.5-3B-Instruct"
    assert (config.problems, config.evaluation.dev_problems) == ("arc:challenge", 150)
    assert ZpdRequest(preset="tutorial-arc", model="ckp_1a2b").configuration().model.source == "ckp_1a2b"
    with pytest.raises(UserMistake, match=r"no preset 'none'; there are: addition-controls"):
        ZpdRequest(preset="none").configuration()


def test_what_is_measured_must_be_said(starloop, home):
    done = starloop("zpd", "--engine", "transformers", home=home[0])
    assert done.returncode == 2
    assert done.stderr == "starloop: say what is measured: --problems and --model, or a --preset that names both\n"
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    gone = starloop("zpd", "--problems", "addition:1-2", "--model", "nobody/nothing", home=home[0])
    assert gone.returncode == 2
    assert "no model 'nobody/nothing'" in gone.stderr
