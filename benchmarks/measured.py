"""What every page of measurements needs: the runs of a group, what two evaluations disagree on, and a section to put it in."""

import re
from typing import Any

from storage.answers import Run
from storage.lineage import Lineage


def replaced(text: str, name: str, section: str) -> str:
    """The page with the text between this section's markers replaced."""
    pattern = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
    assert pattern.search(text), f"the page has no section {name}"
    return pattern.sub(lambda found: f"{found[1]}{section}\n{found[2]}", text)


def arms_of(lineage: Lineage) -> list[Run]:
    """The arms of the newest group, in the order they ran; an arm that an earlier group ran too is the same run."""
    group = next(run for run in lineage.runs() if run.config.get("arms"))
    by_name = {run.name: run for run in reversed(lineage.runs()) if run.facts.get("final_test")}
    return [by_name[arm["name"]] for arm in group.config["arms"] if arm["name"] in by_name]


def changed(lineage: Lineage, mine: dict[str, Any], other: dict[str, Any]) -> tuple[int, int]:
    """How many problems only the first evaluation has right, and how many only the second."""
    right = [
        {
            problem
            for (problem,) in lineage.query(
                f"select problem_id from v_evaluation_item where evaluation_id = '{one['evaluation_id']}' and passed",
                limit=None,
            ).rows
        }
        for one in (mine, other)
    ]
    return len(right[0] - right[1]), len(right[1] - right[0])
