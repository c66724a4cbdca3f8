"""A loop whose iterations go on with one adapter, and that adapter put into its base."""

import shutil

import pytest

from storage.home import Home
from storage.lineage import Lineage
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
