"""The fine-tune task on a real trainer: two that come to the same training, and a model that somebody else made."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.errors import UserMistake
from storage.home import Home
from storage.manifest import Accounting
from storage.records import Checkpoint, ExampleEvidence
from tasks.checkpoints import is_whole
from tasks.composition import Candidate, Composition
from tasks.finetune import finetune
from tasks.pretrained import find, take_in
from tasks.runtime import Runtime
from tests.training.conftest import RECIPE, TINY, sums

pytestmark = pytest.mark.slow


class Counted:
    """Counts how often a training came to its last step."""

    def __init__(self):
        self.finished = 0
        self._lock = threading.Lock()

    def advance(self, step, done, total):
        with self._lock:
            self.finished += done == total


def test_two_runs_that_come_to_the_same_training_do_it_once(processes, tmp_path):
    home, told = Home.open(tmp_path / "home"), Counted()
    runtimes = [Runtime(home, processes, progress=told) for _ in range(2)]
    examples = [Candidate(one, ExampleEvidence(one.example_id, "a" * 32, "corpus")) for one in sums(100)]
    composition = Composition(runtimes[0].shards)
    composition.include(examples)
    rows = composition.seal(Accounting(100, ok=100), 0)
    call = {
        "base_checkpoint_id": None, "architecture": TINY, "examples": rows.manifests["examples"],
        "members": rows.manifests["members"], "mix_id": rows.facts["mix_id"], "recipe": RECIPE, "seed": 1,
    }  # fmt: skip
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda runtime: finetune.function(**call, runtime=runtime), runtimes)
    assert told.finished == 1
    assert first == second
    (checkpoint,) = runtimes[0].shards.read(first.manifests["checkpoint"], Checkpoint)
    place = home.checkpoints / checkpoint.checkpoint_id
    assert is_whole(place, json.loads(checkpoint.files))
    (place / "config.json").unlink()
    again = finetune.function(**call, runtime=runtimes[0])  # what was taken from is damaged: trained anew
    assert told.finished == 2
    assert again.facts["checkpoint_id"] == first.facts["checkpoint_id"]
    assert is_whole(place, json.loads(checkpoint.files))


def test_a_folder_becomes_a_checkpoint_that_stays_what_it_was(trained, processes, tmp_path):
    spec, _ = trained
    home = Home.open(tmp_path / "home")
    runtime = Runtime(home, processes)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for path in find(spec.out).folder.iterdir():
        (theirs / path.name).write_bytes(path.read_bytes())
    (theirs / "modeling_custom.py").write_text("raise SystemExit")
    (theirs / "optimizer.pt").write_bytes(b"not ours to read")
    output = take_in.function(find(str(theirs)), runtime)
    (checkpoint,) = runtime.shards.read(output.manifests["checkpoint"], Checkpoint)
    assert (checkpoint.kind, checkpoint.parent_id, checkpoint.training_id) == ("full", None, None)
    assert checkpoint.source == str(theirs)
    place = home.checkpoints / checkpoint.checkpoint_id
    assert {path.suffix for path in place.iterdir()} <= {".json", ".safetensors", ".jinja"}
    (theirs / "config.json").write_text("{}")
    assert is_whole(place, json.loads(checkpoint.files))
    with processes.engine("transformers", place, threads=1) as engine:
        assert engine.weights_digest == output.facts["weights_digest"]


def test_a_changed_model_has_another_key_and_a_touched_one_the_same_checkpoint(trained, processes, tmp_path):
    spec, _ = trained
    runtime = Runtime(Home.open(tmp_path / "home"), processes)
    before = find(spec.out)
    assert take_in.key({"model": before}) == take_in.key({"model": find(spec.out)})
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in before.folder.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    assert take_in.key({"model": find(str(moved))}) != take_in.key({"model": before})
    made = [take_in.function(find(place), runtime).facts["checkpoint_id"] for place in (spec.out, str(moved))]
    assert made[0] == made[1]


def test_what_a_loop_cannot_start_from_is_refused(tmp_path):
    with pytest.raises(UserMistake, match="is no model folder"):
        find(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserMistake, match="holds no safetensors, the only weights that are read"):
        find(str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserMistake, match="is an adapter; put it into its base with `starloop merge`"):
        find(str(tmp_path))
