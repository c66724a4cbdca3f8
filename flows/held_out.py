"""What a loop looks at and never learns from."""

from dataclasses import dataclass

from storage.manifest import Manifest
from tasks.caching import StepRecord


@dataclass(frozen=True, slots=True)
class Answered:
    """A split answered greedily, cell by cell, with its verdicts."""

    parts: list[Manifest]
    attempts: list[StepRecord]
    verdicts: list[StepRecord]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Problems that are only ever looked at, with the prompts and the verifier that go with them; `name` is in the steps' titles."""

    name: str
    problems: str
    split: str
    count: int
    template: str
    verifier: str
