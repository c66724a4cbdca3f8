"""What a method's code may ask of its loop, whether that is run or only rehearsed."""

from collections.abc import Sequence
from typing import Any, Protocol

from flows.config import LoopConfig
from flows.progress import Listener
from flows.step import Model
from tasks.caching import CachedTask, StepRecord
from tasks.runtime import Runtime


class AnyLoop(Protocol):
    """A loop as `flows.iteration.Steps` sees it: `flows.loop.Loop`, or `flows.rehearsal.Rehearsal`."""

    @property
    def config(self) -> LoopConfig: ...

    @property
    def runtime(self) -> Runtime: ...

    @property
    def listener(self) -> Listener: ...

    @property
    def tokens(self) -> int:
        """Generated so far, found cached or made now."""
        ...

    def run(
        self, iteration: int, title: str, task: CachedTask, calls: Sequence[dict[str, Any]]
    ) -> list[StepRecord]: ...

    def start(self, iteration: int, title: str, task: CachedTask, calls: Sequence[dict[str, Any]]) -> Any: ...

    def finish(self, step: Any) -> list[StepRecord]: ...

    def close(self, iteration: int, model: Model, dev: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]: ...

    def find_model(self, source: str) -> Any: ...

    def place(self, zone: dict[str, Any]) -> None: ...

    def final_test(
        self, base: dict[str, Any], final: dict[str, Any], also: tuple[dict[str, Any], dict[str, Any]] | None = None
    ) -> None: ...
