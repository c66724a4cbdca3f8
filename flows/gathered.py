"""What an iteration has made of its problems, before anything is trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from storage.manifest import Manifest
from tasks.caching import StepRecord
from tasks.rewards import Judged
from tasks.verify import Outcomes


@dataclass
class Gathered:
    """What an iteration has made of its problems so far, cell by cell."""

    problems: Manifest
    judged: list[Judged] = field(default_factory=list)
    outcomes: list[Outcomes] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    threshold: float | None = None
    """The reward above which this iteration keeps, where it chose one itself."""
    iteration: int = 0
    audited: list[Judged] = field(default_factory=list)
    """The same attempts with the audit verifier's verdicts, once the audits are finished."""


def judged_of(
    origin: str, parts: Sequence[Manifest], attempts: Sequence[StepRecord], verdicts: Sequence[StepRecord]
) -> list[Judged]:
    """Attempts and verdicts of a step, cell by cell."""
    return [
        Judged(origin, part, a.output.manifests["attempts"], v.output.manifests["verdicts"])
        for part, a, v in zip(parts, attempts, verdicts, strict=True)
    ]


def outcomes_of(verdicts: Sequence[StepRecord]) -> list[Outcomes]:
    """Verdicts of a step as arguments, cell by cell."""
    return [Outcomes(one.output.manifests["verdicts"], str(one.output.facts["outcomes"])) for one in verdicts]


def judging(parts: Sequence[Manifest], attempts: Sequence[StepRecord], verifier: str) -> list[dict[str, Any]]:
    """What a verifier is called with on a step's attempts, cell by cell."""
    return [
        {"problems": part, "attempts": record.output.manifests["attempts"], "verifier": verifier}
        for part, record in zip(parts, attempts, strict=True)
    ]
