"""Forgetting on the small loop: what goes, what stays, and that it does not come back."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_loop import Story, attempt, contents, problem, tell, verdict

from storage.errors import UserMistake
from storage.events import FORGOTTEN, Events
from storage.forgetting import Found, find, forget
from storage.home import Home
from storage.identity import digest
from storage.ledger import Ledger
from storage.lineage import Lineage
from storage.manifest import Accounting
from storage.nodes import Node
from storage.records import Attempt, Derivation, Example, ExampleEvidence, Problem
from storage.redo import redo
from storage.tombstones import Tombstones
from storage.traces import remaining

ROOT = Path(__file__).parents[2]
SECRET = "the quick brown <fox> said 'twelve'"
"""An answer that can be told from other text, and that HTML and JSON write differently."""


@pytest.fixture(scope="module")
def confided(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The small loop, and a third iteration in which a model gives an answer worth forgetting."""
    home = Home.open(tmp_path_factory.mktemp("confided") / "home")
    story = confide(tell(home, Ledger(home)))
    story.ledger.close()
    return story


@pytest.fixture
def story(confided: Story, tmp_path: Path) -> Iterator[Story]:
    """A copy of it."""
    home = Home(shutil.copytree(confided.home.root, tmp_path / "home"))
    copy = Story(home, Ledger(home), confided.run_id, dict(confided.ids), list(confided.commits))
    yield copy
    copy.ledger.close()


def confide(story: Story) -> Story:
    model = story.ids["model 2"]
    asked = problem(7)
    prompt, row = attempt(asked, SECRET, model)
    _, other = attempt(asked, "14", model, sample=1)
    mark = verdict(row, True)
    example = Example.of(asked.question, SECRET)
    evidence = ExampleEvidence(example.example_id, asked.problem_id, "sampled", row.attempt_id, mark.verdict_id)
    plain = Example.of("a", "b")
    worked = problem(98, "corpus")
    story.step(3, "problems", Accounting(2, 2), problems=(asked, worked))
    story.step(3, "sample", Accounting(2, 2), prompts=(prompt,), attempts=(row, other))
    story.step(3, "verify", Accounting(2, 1, 1), verdicts=(mark, verdict(other, False)))
    story.train(
        3, "model 3", model,
        [(example, evidence), (plain, ExampleEvidence(plain.example_id, worked.problem_id, "original"))],
    )  # fmt: skip
    story.commit()
    story.ids |= {"secret": example.example_id, "asked": asked.problem_id, "secret attempt": row.attempt_id,
                  "other attempt": other.attempt_id}  # fmt: skip
    story.ledger.publish(force=True)
    return story


def found_in(ledger: Ledger, what: str, identity: str) -> Found:
    with ledger.writer() as connection:
        return find(connection, what, identity)


def forgotten(ledger: Ledger, what: str, identity: str) -> Found:
    found = found_in(ledger, what, identity)
    forget(ledger, found, "asked to", [])
    return found


def traces(ledger: Ledger, texts: list[str]) -> list[str]:
    with ledger.writer() as connection:
        return [trace.place for trace in remaining(ledger.home, texts, connection)]


def test_what_stands_on_an_example_is_found_without_a_change(story: Story):
    before = contents(story.ledger)
    found = found_in(story.ledger, "example", story.ids["secret"])
    assert found.counts == {"attempt": 1, "verdict": 1, "example": 1}
    assert found.ids["attempt"] == [story.ids["secret attempt"]]
    assert found.checkpoints == [story.ids["model 3"]]
    assert found.descendants == []
    assert found.mixes == [story.ids["model 3 mix"]]
    assert found.texts == [SECRET]
    assert contents(story.ledger) == before


def test_a_minimal_rebuild_names_the_steps_that_follow_from_it(story: Story):
    found = found_in(story.ledger, "example", story.ids["secret"])
    with story.ledger.writer() as connection:
        (one,) = redo(connection, [digest for _, digest in found.shards])
    assert one.run_id == story.run_id
    assert one.steps == [(3, "sample", 1), (3, "verify", 1), (3, "mix", 1)]


def test_a_forgotten_example_is_in_no_file_and_the_store_is_sound(story: Story):
    home, ledger = story.home, story.ledger
    places = traces(ledger, [SECRET])
    assert {"ledger.duckdb, attempt", "ledger.duckdb, example", "ledger.duckdb, verdict", "lineage.duckdb"} <= set(
        places
    )
    assert sum(place.startswith("shards/") for place in places) == 3
    found = forgotten(ledger, "example", story.ids["secret"])
    assert traces(ledger, found.texts) == []
    assert SECRET.encode() not in home.lineage_db.read_bytes()
    assert ledger.verify() == []
    rows = contents(ledger)
    assert not any(SECRET in row for row in rows["attempt"] + rows["example"])
    assert any("'14'" in row for row in rows["attempt"]), "the other answer stays"
    before = contents(ledger)
    ledger.rebuild()
    assert contents(ledger) == before
    assert traces(ledger, found.texts) == []


def test_who_saw_it_can_still_be_asked(story: Story):
    forgotten(story.ledger, "example", story.ids["secret"])
    with Lineage.open(story.home) as lineage:
        assert [row.prompt for row in lineage.training_set(story.ids["model 3"])].count(None) == 1
        query = f"select checkpoint_id from v_example_use where example_id = '{story.ids['secret']}'"
        assert [row[0].hex for row in lineage.query(query).rows] == [story.ids["model 3"]]
        with pytest.raises(UserMistake, match=r"was forgotten on .*: asked to"):
            lineage.checkpoint_ancestry(story.ids["model 3"]) and lineage.example_lineage(story.ids["secret"])


def test_a_forgotten_problem_takes_everything_said_about_it(story: Story):
    found = forgotten(story.ledger, "problem", story.ids["asked"])
    assert found.counts == {"problem": 1, "prompt": 1, "attempt": 2, "verdict": 2, "example": 1}
    assert SECRET in found.texts
    assert "7+7=" in found.texts
    assert story.ledger.verify() == []
    tombstones = Tombstones.of(story.home)
    assert tombstones.bar_problem(problem(7))
    assert tombstones.bar_problem(Problem.of("another set", "test", "7+7=", "14")), "the question, wherever it stands"
    assert not tombstones.bar_problem(problem(8))


def test_a_forgotten_source_takes_all_its_problems(story: Story):
    foreign = Problem.of("leaked", "train", "what is said here stays here", None, rationale=SECRET + "!")
    example = Example.of(foreign.question, SECRET + "!")
    evidence = ExampleEvidence(example.example_id, foreign.problem_id, "original")
    story.step(4, "problems", problems=(foreign,))
    story.step(4, "mix", examples=(example,), evidence=(evidence,))
    story.commit()
    found = forgotten(story.ledger, "source", "leaked")
    assert found.counts == {"problem": 1, "example": 1}
    assert traces(story.ledger, found.texts) == []
    assert story.ledger.verify() == []
    tombstones = Tombstones.of(story.home)
    assert tombstones.bar_problem(Problem.of("leaked", "dev", "never posed so far", "1"))


def test_a_worked_solution_goes_with_its_example(story: Story):
    found = forgotten(story.ledger, "example", story.ids["original"])
    assert found.counts == {"problem": 1, "example": 1}
    assert story.ledger.verify() == []
    tombstones = Tombstones.of(story.home)
    assert tombstones.bar_problem(problem(99, "corpus"))
    assert not tombstones.bar_problem(problem(99)), "the question alone may be asked"
    assert tombstones.bar_text(problem(99), "198")
    assert not tombstones.bar_text(problem(99), "199")


def test_what_is_forgotten_twice_is_said(story: Story):
    forgotten(story.ledger, "example", story.ids["secret"])
    with pytest.raises(UserMistake, match="may have been forgotten already"):
        found_in(story.ledger, "example", story.ids["secret"])


def test_shards_are_rewritten_once_more_and_old_names_lead_to_what_is_left(story: Story):
    forgotten(story.ledger, "attempt", story.ids["secret attempt"])
    forgotten(story.ledger, "attempt", story.ids["other attempt"])
    assert story.ledger.verify() == []
    before = contents(story.ledger)
    assert len(before["erased"]) == 5, "attempts twice, verdicts twice, the example once"
    story.ledger.rebuild()
    assert contents(story.ledger) == before


def test_copies_beside_the_ledger_go_too(story: Story):
    home = story.home
    (home.logs / "engine-1.log").write_text(f"asked\nanswered {SECRET}\n")
    home.reports.mkdir()
    (home.reports / "mine.html").write_text("<p>the quick brown &lt;fox&gt; said &#39;twelve&#39;</p>")
    (home.reports / "other.html").write_text("<p>nothing</p>")
    (home.journals / "a.jsonl").write_text(f'{{"text": "{SECRET}"}}\n{{"text": "other"}}\n')
    (home.root / "outbox").mkdir()
    (home.root / "outbox" / "1.json").write_text(f'{{"params": {{"seen": "{SECRET}"}}}}')
    shard = next(iter(found_in(story.ledger, "example", story.ids["secret"]).shards))[1]
    (home.results / "sample-1").write_text(f'{{"result": "\\"{shard}\\""}}')
    (home.results / "sample-2").write_text('{"result": ""}')
    found = forgotten(story.ledger, "example", story.ids["secret"])
    assert traces(story.ledger, found.texts) == []
    assert (home.logs / "engine-1.log").read_text() == "asked\nanswered [forgotten]\n"
    assert sorted(path.name for path in home.reports.iterdir()) == ["other.html"]
    assert (home.journals / "a.jsonl").read_text() == '{"text": "other"}\n'
    assert [path.name for path in home.results.iterdir()] == ["sample-2"]


def test_a_shard_that_no_step_names_is_found_too(story: Story):
    _, row = attempt(problem(7), SECRET, "c" * 32, sample=5)
    left = story.ledger.shards.write("attempt", [row])
    forgotten(story.ledger, "example", story.ids["secret"])
    assert not story.ledger.shards.exists(left)


DIE = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests/storage")
from storage import erasing, ledger, traces
from storage.home import Home
from storage.forgetting import find, forget

def die(*_): os.kill(os.getpid(), signal.SIGKILL)
place, name = {"event": (erasing, "carry_out"), "copies": (traces, "redact"), "rows": (erasing, "_unlink"),
               "database": (ledger.Ledger, "_rebuild")}[sys.argv[3]]
setattr(place, name, die)
opened = ledger.Ledger(Home.open(Path(sys.argv[1])))
with opened.writer() as connection:
    found = find(connection, "example", sys.argv[2])
forget(opened, found, "asked to", [])
"""


@pytest.mark.slow
@pytest.mark.parametrize("point", ["event", "copies", "rows", "database"])
def test_an_erasure_that_was_killed_is_completed_by_whoever_opens_the_ledger(story: Story, point: str):
    home, ledger = story.home, story.ledger
    ledger.close()
    (home.logs / "engine-1.log").write_text(SECRET)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DIE, str(home.root), story.ids["secret"], point]
    done = subprocess.run(command, cwd=ROOT, env=environment, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [event.kind for event in Events(home).all()][-1] == FORGOTTEN
    again = Ledger(home)
    assert traces(again, [SECRET]) == []
    assert again.verify() == []
    again.close()


def test_a_later_step_may_not_bring_it_back(story: Story):
    old = next(one for one in story.commits if (one.iteration, one.name) == (3, "sample"))
    rows = story.ledger.shards.read(old.output.manifests["attempts"], Attempt)
    forgotten(story.ledger, "example", story.ids["secret"])
    story.ledger.shards.write("attempt", rows)  # as from a copy of the home
    story.ledger.commit_steps([dataclasses.replace(old, iteration=9)])
    assert not any(SECRET in row for row in contents(story.ledger)["attempt"])
    assert [fault for fault in story.ledger.verify() if "was forgotten and is there again" in fault]


def test_a_task_that_a_prompt_showed_goes_from_the_prompt_and_from_what_posed_it(story: Story):
    """As Self-Instruct writes: a proposal shows a seed, poses a task, and a later proposal shows that."""
    model = story.ids["model 2"]
    seed = Problem.of("seeds", "train", "Name  three fruits:", "fig")
    first, second = (Problem.of("seeds", "proposal", f"proposal {n}", None) for n in (1, 2))
    (prompt, row), (later, again) = (
        attempt(first, "9. Sing of rain.", model),
        attempt(second, "9. Count to ten.", model),
    )
    prompt = dataclasses.replace(prompt, text="1. Name three fruits\n9.")
    later = dataclasses.replace(later, text="1. Sing of rain.\n9.")
    posed = Problem.of("self_instruct", "train", "Sing of rain.", None, source_attempt_id=row.attempt_id)
    story.step(
        4,
        "propose",
        Accounting(2, 2),
        problems=(seed, first, second, posed),
        prompts=(prompt, later),
        attempts=(row, again),
    )
    story.step(
        4, "derive", Accounting(2, 2),
        derivations=(Derivation(row.attempt_id, seed.problem_id, "seed"), Derivation(again.attempt_id, row.attempt_id, "shown")),
    )  # fmt: skip
    story.commit()
    forget(story.ledger, found_in(story.ledger, "problem", seed.problem_id), "asked for", [])
    assert stored(story, "prompt", prompt.prompt_id) == 0
    assert stored(story, "attempt", row.attempt_id) == stored(story, "problem", posed.problem_id) == 1
    forget(story.ledger, found_in(story.ledger, "problem", posed.problem_id), "asked for", [])
    assert stored(story, "attempt", row.attempt_id) == stored(story, "prompt", later.prompt_id) == 0
    assert stored(story, "attempt", again.attempt_id) == 1
    assert "Sing of rain" not in str(contents(story.ledger))


def stored(story: Story, table: str, identity: str) -> int:
    with story.ledger.writer() as connection:
        query = f"select count(*) from {table} where {table}_id = ?"
        return connection.execute(query, [identity]).fetchall()[0][0]


def test_a_solution_takes_the_steps_that_were_its_own_and_what_came_after_them(home: Home, ledger: Ledger):
    story = tell(home, ledger)
    model, asked = story.ids["model 2"], problem(7)
    prompt, whole = attempt(asked, "think first, then the secret end", model)
    _, other = attempt(asked, "think first, then another end", model, sample=1)
    _, shared = attempt(asked, "think first, ", model, sample=2)
    after = dataclasses.replace(asked, question=f"{asked.question}think first, ")
    later, own = attempt(after, "then the secret end", model)
    _, others = attempt(after, "then another end", model, sample=1)
    beyond, astray = attempt(
        dataclasses.replace(asked, question=f"{after.question}then the secret end"), "and on", model
    )
    steps = [dataclasses.replace(one, problem_id=asked.problem_id) for one in (shared, own, others, astray)]
    tree = digest("tree")
    ids = [Node.identity(tree, place) for place in range(5)]
    places = [
        (None, None, 0),
        (ids[0], steps[0], 1),
        (ids[1], steps[1], 2),
        (ids[1], steps[2], 2),
        (ids[2], steps[3], 3),
    ]
    nodes = tuple(
        Node(ids[n], tree, asked.problem_id, model, None, above, step and step.attempt_id, None, n, depth, "expanded", 0.5, 1,
             False, None)
        for n, (above, step, depth) in enumerate(places)
    )  # fmt: skip
    parts = [(whole, steps[0]), (whole, steps[1]), (other, steps[0]), (other, steps[2])]
    story.step(
        3, "search", prompts=(prompt, later, beyond), attempts=(whole, other), steps=tuple(steps), problems=(asked,), nodes=nodes,
        derivations=tuple(Derivation(child.attempt_id, step.attempt_id, "step") for child, step in parts),
    )  # fmt: skip
    story.commit()
    found = found_in(ledger, "attempt", whole.attempt_id)
    assert set(found.ids["attempt"]) == {one.attempt_id for one in (whole, steps[1], steps[3])}
    assert found.ids["prompt"] == [beyond.prompt_id], "what stands before the other's steps stays"
