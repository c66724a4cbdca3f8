"""Which checkpoints keep their weights by each rule, and what stays whatever the rule."""

import pytest
from small_loop import Story, tell

from storage.collecting import collect, plan
from storage.errors import UserMistake
from storage.ledger import Ledger
from storage.promotions import DONE, PROMOTE, Promotion, record
from storage.retention import Rule, surplus


@pytest.fixture
def story(home, ledger: Ledger) -> Story:
    """The small loop: base, model 1 and model 2, equally good on dev; the base as iteration 0."""
    told = tell(home, ledger)
    ledger.record(
        "iteration_finished",
        {"run_id": told.run_id, "iteration": 0, "held_out_accuracy": 0.1, "checkpoint_id": told.ids["base"]},
    )
    for name in ("base", "model 1", "model 2"):
        folder = home.checkpoints / told.ids[name]
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"0" * 1000)
    return told


def going(story: Story, rule: str | None) -> list[str]:
    names = {identity: name for name, identity in story.ids.items()}
    with story.ledger.writer() as connection:
        return [names[one.checkpoint_id] for one in surplus(connection, Rule.parse(rule) if rule else None)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("all", []),
        (None, []),
        ("last 1", ["model 1"]),
        ("last 2", []),
        ("best", ["model 1"]),
        ("promoted", ["model 1", "model 2"]),
    ],
)
def test_each_rule_lets_go_of_what_it_does_not_keep_and_never_of_the_base(story: Story, rule, expected):
    assert going(story, rule) == expected


def test_the_best_on_dev_stays_wherever_it_stands(story: Story):
    story.ledger.record(
        "iteration_finished",
        {"run_id": story.run_id, "iteration": 2, "held_out_accuracy": 0.4, "checkpoint_id": story.ids["model 2"]},
    )
    assert going(story, "best") == ["model 2"]


def test_a_runs_own_configuration_says_what_is_kept(story: Story):
    story.ledger.start_run("small", "star", None, {"keep": "last 1"}, run_id=story.run_id)
    assert going(story, None) == [], "it is running, and may go on from any"
    story.ledger.finish_run(story.run_id, "completed")
    assert going(story, None) == ["model 1"]


def test_collected_weights_are_gone_and_the_rows_are_not(story: Story):
    promoted = Promotion(
        "ab" * 16, "", PROMOTE, "m", "champion", "home", story.ids["model 1"], 1, None, None, None, None, False, None, 0, []
    )  # fmt: skip
    record(story.ledger, promoted, DONE)
    found = plan(story.ledger, [], {}, Rule.parse("promoted"))
    assert found.weights == [story.ids["model 2"]]
    assert [one.path for one in found.going] == [f"checkpoints/{story.ids['model 2']}"]
    assert found.bytes == 1000
    collect(story.ledger, found)
    there = {folder.name for folder in story.home.checkpoints.iterdir()}
    assert there == {story.ids["base"], story.ids["model 1"]}
    with story.ledger.writer() as connection:
        assert connection.execute("select count(*) from checkpoint").fetchone() == (3,)
    assert story.ledger.verify() == []
    assert plan(story.ledger, [], {}, Rule.parse("promoted")).going == []


@pytest.mark.parametrize("text", ["last", "last 0", "last -1", "most", ""])
def test_what_is_no_rule_is_one_sentence(text):
    with pytest.raises(UserMistake, match="does not fit; say all, best, promoted, or last with a number: last 2"):
        Rule.parse(text)
