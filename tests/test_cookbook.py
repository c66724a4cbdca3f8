"""The lineage cookbook on a real run: every question answers, with what is known of the run."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.home import Home
from storage.lineage import Lineage

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "lineage.md").read_text(encoding="utf-8")
QUESTIONS = dict(re.findall(r"^### (.*?)\n(?:(?!^### ).*\n)*?```sql\n((?:.*\n)*?)```", PAGE, re.MULTILINE))
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

Rows = list[dict[str, Any]]


def nothing(rows: Rows) -> bool:
    return rows == []


def anything(rows: Rows) -> bool:
    """What a small model does by chance: the query answers, and how many rows it has says nothing."""
    return isinstance(rows, list)


def some(rows: Rows) -> bool:
    return len(rows) > 0


def every(test: Callable[[dict[str, Any]], object], exactly: int | None = None) -> Callable[[Rows], bool]:
    """Some rows (or exactly so many), and each passes."""
    return lambda rows: (len(rows) == exactly if exactly is not None else bool(rows)) and all(map(test, rows))


EXPECTED: dict[str, Callable[[Rows], bool]] = {
    "How much did each iteration keep?": every(lambda r: 0 < r["kept"] <= r["attempts"] and r["undecided"] == 0, 2),
    "What share of each training set was rationalized?": lambda rows: (
        {r["mix_iteration"] for r in rows if r["origin"] == "rationalized"} == {1}
        and abs(sum(r["share"] for r in rows if r["mix_iteration"] == 1) - 1) < 1e-9
    ),
    "Which problems did no attempt ever solve?": every(lambda r: r["attempts"] > 0),
    "How often is a problem solved, over all attempts at it?": every(lambda r: 0 <= r["solved"] <= r["attempts"]),
    "Which attempts reach the right answer through a wrong step, direct and rationalized apart?": every(
        lambda r: r["through_a_wrong_step"] <= r["kept"], 3
    ),
    "What are the longest and the shortest rationales that were kept?": lambda rows: (
        len(rows) == 10
        and min(r["characters"] for r in rows if r["which"] == "longest")
        >= max(r["characters"] for r in rows if r["which"] == "shortest")
    ),
    "What is undecided, and why?": nothing,
    "How surprised was the model by what passed, and by what failed?": every(lambda r: r["nats_per_token"] < 0, 4),
    "What did the search trees come to?": nothing,
    "Which steps did a tree prefer, and where did they lead?": nothing,
    "Where did the tokens and the seconds go?": lambda rows: (
        {"pre-train", "fine-tune", "sample"} <= {r["step"] for r in rows} and rows[0]["work_s"] > 0
    ),
    "How many tokens did each iteration generate?": every(lambda r: r["tokens"] > 0),
    "What did the rejects cost?": every(lambda r: 0 < r["share"] < 1, 3),
    "How much did each run find in the cache?": every(lambda r: 0 <= r["cached"] <= r["cells"]),
    "What was generated and never used?": every(lambda r: r["attempts"] > 0),
    "What trained this checkpoint, and who wrote it?": lambda rows: (
        {r["origin"] for r in rows} == {"sampled", "original"}
        and all((r["written_by"] is None) == (r["origin"] == "original") for r in rows)
    ),
    "What is in a training set, row by row?": every(
        lambda r: r["prompt"] and r["completion"] and r["licence"] and (r["origin"] == "original" or r["verdict"] == "passed"), 20
    ),
    "Which prompts wrote this example, and what did it go into?": every(lambda r: r["prompt"] and r["trained"]),
    "Which training sets share an example?": every(lambda r: r["training_sets"] > 1),
    "Which checkpoints have this example in their history?": every(lambda r: r["depth"] >= 0),
    "What leads from an example down to the base?": lambda rows: {"problem", "attempt", "prompt", "verdict"} <= {r["to_kind"] for r in rows},
    "What leads from a checkpoint down to the base?": lambda rows: (
        {r["depth"] for r in rows} == {0, 1, 2} or {r["depth"] for r in rows} == {0, 1}
    ) and {"base", "sampled"} <= {r["relation"] for r in rows},
    "What became of a problem: its attempts, and the checkpoints that learned from them?": lambda rows: any(r["checkpoint_id"] for r in rows),
    "What is in one training set and not in another?": lambda rows: "only in the first" in {r["place"] for r in rows},
    "Whose data is in a training set?": every(lambda r: r["licence"] and r["source"].startswith("addition"), 2),
    "How accurate is each iteration, stratum by stratum?": every(lambda r: 0 <= r["accuracy"] <= 1, 6),
    "Which held-out problems were solved by one iteration and lost by the next?": anything,
    "Which new examples did a loss follow?": anything,
    "How often has the test split been looked at?": every(lambda r: r["looks"] == 1, 2),
    "Which versions of a verifier have judged, and what did each say?": every(lambda r: r["newest"] and r["passed"] > 0, 2),
    "Which verdicts would not be reached again? (`starloop reverify` looks)": nothing,
    "What was trained on a verdict that no longer holds?": nothing,
    "What would an evaluation be with today's verdicts?": every(lambda r: r["passed"] == r["passed_today"], 5),
    "Does a training set give away an evaluation?": nothing,
    "Which examples of a training set say nearly the same?": anything,
    "Which texts were written again in a later iteration?": every(lambda r: r["iterations"] > 1),
    "What was decided, and when?": lambda rows: {"run_started", "step_committed", "run_finished"} <= {r["kind"] for r in rows},
}  # fmt: skip
"""What the small run's answer must be like: two iterations, the first rationalized, two digits, nothing undecided or changed."""


def test_every_question_has_an_expectation_and_there_are_many():
    assert set(QUESTIONS) == set(EXPECTED)
    assert len(QUESTIONS) >= 20
    assert len(re.findall(r"```sql", PAGE)) == len(QUESTIONS)


@pytest.mark.parametrize("question", EXPECTED)
def test_a_question_is_answered(question: str, small_run):
    with Lineage.open(Home(small_run[0])) as lineage:
        answer = lineage.query(QUESTIONS[question], limit=None)
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    assert EXPECTED[question](rows), rows[:10]


def test_changes_between_iterations_add_up_to_the_difference_in_accuracy(small_run):
    with Lineage.open(Home(small_run[0])) as lineage:
        changed = lineage.query(
            "select iteration, count(*) filter (where change = 'gained') - count(*) filter (where change = 'lost') "
            "from v_item_change where split = 'dev' group by 1"
        ).rows
        passed = lineage.query("select iteration, passed from v_evaluation where split = 'dev' order by 1").rows
    by_iteration = dict(changed)
    counts = [count for _, count in passed]
    assert [by_iteration.get(n, 0) for n in (1, 2)] == [counts[1] - counts[0], counts[2] - counts[1]]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_documented_python_runs_where_the_snapshot_is(snippet: str, small_run):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{snippet}"],
        capture_output=True, text=True, cwd=small_run[0], check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
