"""The page's sections on health and on a comparison: what they say, and that no text in them can do anything."""

import pytest
from small_loop import Story, tell
from test_comparison import facts
from test_report import Page

from storage.identity import digest
from storage.report import render_report

HEALTH = {
    "pass_at": [0.25, 0.5], "distinct_solutions": 1.25, "mean_tokens": None, "mean_characters": 28.0, "undecided_share": 0.0,
    "lost_share": 0.66, "false_positive_share": None, "rationalized_share": None, "train_dev_gap": -0.04, "gap": 0.0,
    "ceiling": {"accuracy": 0.95, "worst": 0.7, "measured": 0.98, "accepted": 0.25, "false_accept_rate": 0.05, "false_reject_rate": 0.02,
                "cases": 59},
    "signs": [{"check": "lost_share", "value": 0.66, "limit": 0.2, "action": "back", "said": "66 % <script>lost"}],
}  # fmt: skip


@pytest.fixture
def mine(home, ledger) -> Story:
    """The small loop in a home of this test's own."""
    return tell(home, ledger)


def looked_at(story: Story) -> None:
    """The story's iterations, with a health each."""
    for n in (1, 2):
        story.ledger.record(
            "iteration_finished",
            {"run_id": story.run_id, "iteration": n, "held_out_accuracy": 1.0, "ci_low": 0.5, "ci_high": 1.0, "n": 2, "kept": 2,
             "checkpoint_id": story.ids[f"model {n}"], "health": HEALTH},
        )  # fmt: skip


def test_the_health_of_a_loop_is_drawn_where_it_was_measured(mine: Story):
    looked_at(mine)
    page = Page(render_report(mine.home, mine.run_id))
    assert "script" not in page.tags
    assert "iteration 1: 66 % <script>lost (limit 0.2, back)" in page.text
    assert "pass@1 and pass@K sharpening lifts the lower line alone" in page.text
    assert "can approach a true accuracy of 95.0 % (at worst 70.0 %)" in page.text
    assert "unsound of the attempts that passed and were audited" not in page.text  # nobody audited
    assert "At equal tokens" not in page.text


def test_a_run_that_nobody_looked_at_says_so(mine: Story):
    assert "No iteration has been looked at yet." in Page(render_report(mine.home, mine.run_id)).text


def test_a_comparison_is_drawn_above_its_loops(mine: Story):
    looked_at(mine)
    group = mine.ledger.start_run("star / <b>", "compare", "addition-compare", {}, run_id=digest("group"))
    mine.ledger.finish_run(group, "completed", {"arms": [mine.run_id], "why": "", "comparison": facts()})
    page = Page(render_report(mine.home, group))
    assert "At equal tokens" in page.text
    assert "+40.0 points, p < 0.001" in page.text
    assert "Is the loop well?" in page.text
