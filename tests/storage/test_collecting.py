"""Collecting what no kept run needs: shown first, and never anything that a kept run, MLflow or an unfinished run needs."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_loop import Story, contents, problem, tell

from storage.collecting import Plan, collect, plan
from storage.errors import UserMistake
from storage.events import COLLECTED, Events
from storage.home import Home
from storage.identity import digest
from storage.ledger import Ledger, StepCommit
from storage.lineage import Lineage
from storage.manifest import Accounting
from storage.occupancy import alone, at_work
from storage.records import Example, ExampleEvidence

ROOT = Path(__file__).parents[2]


class Linked(Story):
    """Its steps say what they read, as real ones do: all that their iteration wrote before, and the checkpoints in use."""

    def step(self, iteration: int, name: str, accounting: Accounting | None = None, **rows: Any) -> StepCommit:
        before = {
            f"{one.name}.{role}": manifest
            for one in self.commits if (one.run_id, one.iteration) == (self.run_id, iteration)
            for role, manifest in one.output.manifests.items()
        }  # fmt: skip
        models = [self.ids[one] for one in ("base", f"model {iteration - 1}") if iteration and one in self.ids]
        super().step(iteration, name, accounting, **rows)
        commit = dataclasses.replace(self.pending.pop(), inputs=before, key_parts={"arguments": {"models": models}})
        self.pending.append(commit)
        self.commits[-1] = commit
        return commit


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The small loop with what real runs also leave: folders of checkpoints, cached results, logs, a report."""
    home = Home.open(tmp_path_factory.mktemp("finished") / "home")
    story = tell(home, Ledger(home), Linked)
    for name in ("base", "model 1", "model 2"):
        folder = home.checkpoints / story.ids[name]
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"0" * 1000)
    home.reports.mkdir()
    (home.reports / f"{story.run_id}.html").write_text("<p>report</p>")
    story.ledger.publish(force=True)
    story.ledger.close()
    return story


@pytest.fixture
def story(finished: Story, tmp_path: Path) -> Iterator[Story]:
    home = Home(shutil.copytree(finished.home.root, tmp_path / "home"))
    copy = Linked(home, Ledger(home), finished.run_id, dict(finished.ids), list(finished.commits))
    yield copy
    copy.ledger.close()


def branched(story: Story) -> str:
    """A second run, whose one checkpoint was trained from the first one's first."""
    first, story.run_id = story.run_id, story.ledger.start_run("branch", "star", None, {}, run_id=digest("branch"))
    asked = problem(8)
    example = Example.of(asked.question, "16")
    evidence = ExampleEvidence(example.example_id, asked.problem_id, "original")
    story.step(2, "problems", Accounting(1, 1), problems=(asked,))
    made = story.train(2, "branch model", story.ids["model 1"], [(example, evidence)])
    story.commit()
    story.ledger.finish_run(story.run_id, "completed")
    branch, story.run_id = story.run_id, first
    (story.home.checkpoints / made).mkdir()
    return branch


def kinds(found: Plan) -> set[str]:
    return {one.kind for one in found.going}


def test_where_every_run_is_kept_nothing_goes(story: Story):
    found = plan(story.ledger, [], {})
    assert (found.going, found.steps, found.runs) == ([], [], [])


def test_leftovers_go_and_only_with_a_word(story: Story):
    home = story.home
    stray = story.ledger.shards.write("example", [Example.of("left", "over")])
    (home.journals / "a.jsonl").write_text("{}")
    (home.trainings / "t").mkdir(parents=True)
    (home.checkpoints / ("0" * 32)).mkdir()
    (home.shards / "example" / ".x.tmp").write_text("half")
    before = contents(story.ledger)
    found = plan(story.ledger, [], {})
    assert kinds(found) == {"shard", "checkpoint", "journal", "training", "temporary"}
    assert len(found.going) == 5
    assert story.ledger.shards.exists(stray), "a plan changes nothing"
    collect(story.ledger, found)
    assert not any((home.root / one.path).exists() for one in found.going)
    assert story.ledger.verify() == []
    rows = contents(story.ledger)
    assert {table: rows[table] for table in rows.keys() - {"event", "erased"}} == {
        table: before[table] for table in before.keys() - {"event", "erased"}
    }
    assert plan(story.ledger, [], {}).going == []


def test_an_unfinished_run_keeps_what_it_goes_on_from(story: Story):
    story.ledger.start_run("killed", "star", None, {}, run_id=digest("killed"))
    stray = story.ledger.shards.write("example", [Example.of("in", "flight")])
    (story.home.journals / "paid.jsonl").write_text("{}")
    (story.home.results / "sample-1").write_text("{")
    found = plan(story.ledger, [], {})
    assert kinds(found) == {"result"}, "what cannot be read is no result"
    assert any("unfinished" in reason for reason in found.kept)
    story.ledger.finish_run(digest("killed"), "completed")
    assert kinds(plan(story.ledger, [], {})) == {"result", "shard", "journal"}
    assert story.ledger.shards.exists(stray)


def test_a_dropped_run_goes_and_its_events_stay(story: Story):
    branch = branched(story)
    events = len(Events(story.home).numbers())
    found = plan(story.ledger, [branch], {})
    assert found.runs == [branch]
    assert len(found.steps) == 3
    assert [one.path for one in found.going if one.kind == "checkpoint"] == [f"checkpoints/{story.ids['branch model']}"]
    collect(story.ledger, found)
    rows = contents(story.ledger)
    assert len(Events(story.home).numbers()) == events + 1
    assert not any("branch" in row for row in rows["step"])
    assert any("'branch'" in row and "'dropped'" in row for row in rows["run"])
    assert story.ledger.verify() == []
    story.ledger.rebuild()
    assert contents(story.ledger) == rows


def test_what_a_kept_run_was_made_from_stays_though_its_run_is_dropped(story: Story):
    branched(story)
    found = plan(story.ledger, [story.run_id], {})
    going = {one.path for one in found.going}
    assert f"checkpoints/{story.ids['model 2']}" in going
    assert f"checkpoints/{story.ids['model 1']}" not in going
    assert f"reports/{story.run_id}.html" in going
    assert any("steps of dropped runs stay" in reason for reason in found.kept)
    collect(story.ledger, found)
    rows = contents(story.ledger)
    assert any(story.ids["model 1"] in row.replace("-", "") for row in rows["checkpoint"])
    assert not any(story.ids["model 2"] in row.replace("-", "") for row in rows["checkpoint"])
    assert story.ledger.verify() == []
    with Lineage.open(story.home) as lineage:
        ancestors = [one.checkpoint_id for one in lineage.checkpoint_ancestry(story.ids["branch model"])]
    assert ancestors == [story.ids[name] for name in ("branch model", "model 1", "base")]


def test_a_pinned_checkpoint_stays(story: Story):
    found = plan(story.ledger, [story.run_id], {story.ids["model 2"]: "under an alias"})
    going = {one.path for one in found.going}
    assert f"checkpoints/{story.ids['model 2']}" not in going
    assert f"checkpoint {story.ids['model 2']} stays: under an alias" in found.kept


def test_a_dropped_run_that_runs_again_comes_back(story: Story):
    before = contents(story.ledger)
    rows = {path: path.read_bytes() for path in story.home.shards.glob("*/*.parquet")}
    collect(story.ledger, plan(story.ledger, [story.run_id], {}))
    empty = contents(story.ledger)
    assert (empty["attempt"], empty["step"]) == ([], [])
    assert story.ledger.verify() == []
    for path, data in rows.items():
        path.write_bytes(data)
    story.ledger.start_run("small", "star", "small-preset", {"samples": 1}, run_id=story.run_id)
    story.ledger.commit_steps(story.commits)
    after = contents(story.ledger)
    for table in ("attempt", "example", "verdict", "mix", "mix_member", "member", "step_shard", "evaluation_item"):
        assert after[table] == before[table]
        assert after[table]
    assert story.ledger.verify() == []
    story.ledger.rebuild()
    assert contents(story.ledger) == after


def test_nothing_is_collected_while_a_run_is_under_way(story: Story):
    with (
        at_work(story.home),
        at_work(story.home),
        pytest.raises(UserMistake, match="a run is under way"),
        alone(story.home, "gc"),
    ):
        pass
    with alone(story.home, "gc"):
        pass


DIE = """
import os, signal, sys
from pathlib import Path
from storage import erasing
from storage.collecting import collect, plan
from storage.home import Home
from storage.ledger import Ledger, StepCommit
from storage.lineage import Lineage

erasing._unlink = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
ledger = Ledger(Home.open(Path(sys.argv[1])))
collect(ledger, plan(ledger, [sys.argv[2]], {}))
"""


@pytest.mark.slow
def test_a_collection_that_was_killed_is_completed(story: Story):
    story.ledger.close()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DIE, str(story.home.root), story.run_id]
    done = subprocess.run(command, cwd=ROOT, env=environment, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [event.kind for event in Events(story.home).all()][-1] == COLLECTED
    again = Ledger(story.home)
    assert again.verify() == []
    assert list(story.home.shards.glob("*/*.parquet")) == []
    assert plan(again, [], {}).going == []
    again.close()
