"""What starloop adds to OpenLineage's events: a run's settings, and a step's place and accounting.

Imported only where the client is installed.
"""

from typing import ClassVar

import attr
from openlineage.client.generated.base import RunFacet

from storage.answers import Run, Step
from storage.identity import canonical_json


@attr.define
class StarloopRunFacet(RunFacet):
    """How a run was asked for; `config` is canonical JSON."""

    name: str
    method: str
    preset: str | None
    config: str
    state: str

    _additional_skip_redact: ClassVar[list[str]] = ["name", "method", "preset", "config", "state"]

    @staticmethod
    def _get_schema() -> str:
        return "urn:starloop:facets:run:1"


@attr.define
class StarloopStepRunFacet(RunFacet):
    """A step's place in its run, whether it was found in the cache, and what became of the rows it was asked for."""

    iteration: int
    cell: str
    cached: bool
    cacheKey: str
    startupSeconds: float
    workSeconds: float
    asked: int
    ok: int
    rejected: int
    undecided: int
    failed: int

    _additional_skip_redact: ClassVar[list[str]] = ["cell", "cacheKey"]

    @staticmethod
    def _get_schema() -> str:
        return "urn:starloop:facets:step:1"


def run(of: Run) -> StarloopRunFacet:
    """A run's facet."""
    return StarloopRunFacet(of.name, of.method, of.preset, canonical_json(of.config), of.state)


def step(of: Step) -> StarloopStepRunFacet:
    """A step's facet."""
    return StarloopStepRunFacet(
        of.iteration, of.cell, of.hit, of.cache_key, of.startup_s, of.work_s, of.asked, of.ok, of.rejected, of.undecided,
        of.failed,
    )  # fmt: skip
