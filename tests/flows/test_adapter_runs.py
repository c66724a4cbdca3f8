"""A loop whose iterations go on with one adapter, and that adapter put into its base."""

import json
import shutil

import pytest

from flows.progress import SilentListener
from flows.release import release
from flows.serving import served
from storage.errors import UserMistake
from storage.home import Home
from storage.lineage import Lineage
from storage.weights import weights_digest
from tests.small_run import status_of

pytestmark = pytest.mark.slow

LORA = ("training.method=lora", "training.lora_rank=4", "training.learning_rate=1e-3", "restart=previous",
        "problems_per_iteration=60", "evaluation.dev_problems=30", "evaluation.test_problems=30")  # fmt: skip


@pytest.fixture(scope="module")
def adapted(small_run, starloop, tmp_path_factory):
    home = shutil.copytree(small_run[0], tmp_path_factory.mktemp("adapters") / "home")
    words = [word for setting in LORA for word in ("--set", setting)]
    done = starloop("run", "star", "--preset", "addition-smoke", *words, home=home)
    assert done.returncode == 0, done.stderr
    return home, status_of(starloop, home)


def test_every_iteration_goes_on_with_the_adapter_before_and_all_are_of_one_base(adapted):
    home, status = adapted
    base, first, second = (one["checkpoint_id"] for one in status["iterations"])
    with Lineage.open(Home(home), fresh=True) as lineage:
        rows = lineage.query(
            "select c.checkpoint_id, c.kind, c.parent_id, t.base_checkpoint_id from checkpoint c join training t using (training_id)"
        ).rows
        ancestry = lineage.query(
            f"select ancestor_id from v_checkpoint_ancestry where checkpoint_id = '{second}' order by depth"
        ).rows
    made = {one.hex: (kind, parent and parent.hex, start and start.hex) for one, kind, parent, start in rows}
    assert made[first] == ("adapter", base, base)
    assert made[second] == ("adapter", base, first)
    assert {parent.hex for (parent,) in ancestry} >= {first, base}


def test_an_adapter_is_merged_and_a_loop_can_start_from_what_comes_of_it(adapted, starloop, tmp_path):
    home, status = adapted
    base, _, last = (one["checkpoint_id"] for one in status["iterations"])
    done = starloop("merge", f"ckp_{last}", str(tmp_path / "merged"), home=home)
    assert done.returncode == 0, done.stderr
    assert f"ckp_{last[:8]} put into ckp_{base[:8]}" in done.stdout.replace("\n", " ")
    assert (tmp_path / "merged" / "model.safetensors").is_file()
    for words, sentence in (
        ((f"ckp_{last}", str(tmp_path / "merged")), "is there already; name a folder that is not"),
        ((f"ckp_{base}", str(tmp_path / "other")), "is no adapter but holds whole weights"),
        (("ckp_00000000", str(tmp_path / "other")), "ckp_00000000"),
    ):
        refused = starloop("merge", *words, home=home)
        assert refused.returncode == 2, refused.stderr
        assert sentence in refused.stderr
    planned = starloop(
        "plan", "star", "--preset", "addition-smoke", "--set", f"model.source={tmp_path}/merged", home=home
    )
    assert planned.returncode == 0, planned.stderr


def test_whole_weights_are_not_trained_from_an_adapter(adapted, starloop):
    home, status = adapted
    last = status["iterations"][-1]["checkpoint_id"]
    done = starloop("run", "star", "--preset", "addition-smoke", "--from", f"ckp_{last}", home=home)
    assert done.returncode == 2
    assert (
        "is an adapter, and training.method = full trains whole weights; set it to lora or qlora, or merge"
        in done.stderr
    )


def test_an_adapter_is_promoted_served_and_released(adapted, starloop, tmp_path, warm, monkeypatch):
    home, status = adapted
    home = Home(shutil.copytree(home, tmp_path / "home"))
    last = status["iterations"][-1]["checkpoint_id"]
    done = starloop("promote", status["run_id"], "--force", "--reason", "for a test", "--json", home=home.root)
    assert done.returncode == 0, done.stderr
    decided = json.loads(done.stdout)
    gates = {gate["gate"]: gate for gate in decided["gates"]}
    assert (decided["state"], decided["checkpoint_id"]) == ("done", last)
    assert gates["answers"]["figures"] == {"same": 10, "asked": 10}, gates["answers"]["said"]
    assert gates["digest"]["passed"]
    assert gates["digest"]["figures"]["files"] > 5, "its base's files, too"

    monkeypatch.setenv("STARLOOP_WARM", warm)
    one = served(home, SilentListener(), "addition-smoke@champion")
    assert (one.version, one.checkpoint_id) == (decided["version"], last)
    assert {path.name for path in one.folder.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert served(home, SilentListener(), "addition-smoke@champion").folder == one.folder, "once"

    folder = release(home, SilentListener(), last, tmp_path / "adapter")
    assert (folder / "adapter_model.safetensors").is_file()
    assert str(tmp_path) not in (folder / "adapter_config.json").read_text()
    assert (folder / "README.md").read_text().startswith("---\nlibrary_name: peft\n")
    whole = release(home, SilentListener(), last, tmp_path / "whole", merged=True)
    assert weights_digest(whole) == weights_digest(one.folder)
    assert ", merged into its base |" in (whole / "README.md").read_text()
    with pytest.raises(UserMistake, match="is there already; name a folder that is not"):
        release(home, SilentListener(), last, whole)
