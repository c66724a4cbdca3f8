"""A loop that runs every step at once in this thread, without Prefect, ledger or MLflow: for looking at what a method asks of its steps.

The tasks' own functions run, on real shards and the scripted engine; what would take a trainer is written down and answered with a
checkpoint that is only a name.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.config import LoopConfig
from flows.progress import SilentListener
from flows.step import Model
from storage.home import Home
from storage.identity import digest
from storage.manifest import Accounting, Output
from storage.records import Attempt, Example, MixMember, Problem, Prompt
from tasks.caching import CachedTask, StepRecord
from tasks.processes import Processes
from tasks.runtime import Runtime


@dataclass(frozen=True)
class Asked:
    """A cell as a method asked for it, and what came of it."""

    iteration: int
    title: str
    task: str
    call: dict[str, Any]
    output: Output


class Remembering(SilentListener):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def said(self, text: str) -> None:
        self.heard.append(text)


@dataclass
class PlainLoop:
    """Stands in for a `flows.loop.Loop`. `asked` is every cell, in order; `closed` every iteration's figures."""

    config: LoopConfig
    runtime: Runtime
    listener: Remembering = field(default_factory=Remembering)
    asked: list[Asked] = field(default_factory=list)
    closed: list[dict[str, Any]] = field(default_factory=list)
    tested: tuple[Any, ...] = ()
    zone: dict[str, Any] | None = None
    tokens: int = 0

    def run(self, iteration: int, title: str, task: CachedTask, calls: Sequence[dict[str, Any]]) -> list[StepRecord]:
        return [self._cell(iteration, title, task, call) for call in calls]

    start = run

    def finish(self, step: list[StepRecord]) -> list[StepRecord]:
        return step

    def close(self, iteration: int, model: Model, dev: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        known = {"held_out_accuracy": dev["accuracy"], "ci_low": dev["ci_low"], "ci_high": dev["ci_high"]}
        self.closed.append({"iteration": iteration, **known, **extra, "checkpoint_id": model.checkpoint_id})
        return self.closed[-1]

    def find_model(self, source: str) -> Any:
        return source

    def place(self, zone: dict[str, Any]) -> None:
        self.zone = zone

    def final_test(self, base: dict[str, Any], final: dict[str, Any], also: Any = None) -> None:
        self.tested = (base, final, also)

    def steps(self, title: str, iteration: int | None = None) -> list[Asked]:
        """The cells of a title, in one iteration or in all."""
        return [one for one in self.asked if one.title == title and iteration in (None, one.iteration)]

    def prompts(self, title: str, iteration: int | None = None) -> list[str]:
        """The texts that were sent in a step, attempt by attempt."""
        texts = {
            row.prompt_id: row.text
            for one in self.steps(title, iteration)
            for row in self._read(one, "prompts", Prompt)
        }
        return [texts[row.prompt_id] for row in self.attempts(title, iteration)]

    def attempts(self, title: str, iteration: int | None = None) -> list[Attempt]:
        return [row for one in self.steps(title, iteration) for row in self._read(one, "attempts", Attempt)]

    def problems(self, iteration: int) -> list[Problem]:
        return [row for one in self.steps("problems", iteration) for row in self._read(one, "problems", Problem)]

    def trained_on(self, iteration: int, title: str = "mix") -> list[tuple[Example, str]]:
        """The members of a mix with their roles, in training order."""
        (one,) = self.steps(title, iteration)
        texts = {row.example_id: row for row in self._read(one, "examples", Example)}
        return [(texts[row.example_id], row.role) for row in self._read(one, "members", MixMember)]

    def _read(self, one: Asked, role: str, kind: Any) -> list[Any]:
        return self.runtime.shards.read(one.output.manifests[role], kind)

    def _cell(self, iteration: int, title: str, task: CachedTask, call: dict[str, Any]) -> StepRecord:
        made = {"finetune": self._trained, "take_in": self._taken_in}.get(task.name)
        output = made(call) if made else task.function(**call, runtime=self.runtime)
        self.asked.append(Asked(iteration, title, task.name, call, output))
        self.tokens += int(str(output.facts.get("tokens", 0)))
        return StepRecord(output, task.name, digest(iteration, title, len(self.asked)), {}, "", 0.0, 0.0)

    def _trained(self, call: dict[str, Any]) -> Output:
        recipe = call["recipe"].canonical()
        return self._named(digest("checkpoint", call["base_checkpoint_id"], call["mix_id"], recipe, call["seed"]))

    def _taken_in(self, call: dict[str, Any]) -> Output:
        return self._named(digest("taken in", call["model"]))

    def _named(self, name: str) -> Output:
        weights = digest("scripted", str(self.runtime.home.checkpoints / name))
        return Output({}, Accounting(1, ok=1), {"checkpoint_id": name, "weights_digest": weights, "kind": "full"})


@contextmanager
def plain_loop(config: LoopConfig, folder: Path) -> Iterator[PlainLoop]:
    """A loop in a home of its own."""
    with Processes(folder / "logs", preload=()) as processes:
        runtime = Runtime(Home.open(folder / "home"), processes)
        try:
            yield PlainLoop(config, runtime)
        finally:
            runtime.close()
