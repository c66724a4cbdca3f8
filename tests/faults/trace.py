"""What the points that a run reached say: how much was done, how much of it twice, and where it died."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Trace:
    """The points of one run, in the order they were reached, each with its process. `killed`: where a process died."""

    points: list[tuple[str, int]] = field(default_factory=list)
    killed: str | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        points: list[tuple[str, int]] = []
        killed = None
        for line in path.read_text().splitlines() if path.exists() else []:
            point, process, *end = line.split()
            if end:
                killed = point
            else:
                points.append((point, int(process)))
        return cls(points, killed)

    def count(self, point: str) -> int:
        return sum(name == point for name, _ in self.points)

    def middle(self, point: str) -> int:
        """Half of how often the process that is most often there gets there."""
        return (max(Counter(process for name, process in self.points if name == point).values(), default=0) + 1) // 2

    @property
    def unsaved_steps(self) -> int:
        """Optimizer steps of a training that was cut off, since its last complete trainer checkpoint."""
        names = [name for name, _ in self.points]
        for place in range(len(names) - 1, -1, -1):
            if names[place] in ("training-start", "training-after-seal", "checkpoint-after-rename"):
                return names[place:].count("training-step")
        return 0

    @property
    def unsaved_responses(self) -> int:
        """Responses that an engine had finished and that were on no disk."""
        return self.count("engine-response") - self.count("journal-after-append")


@dataclass(frozen=True, slots=True)
class Redone:
    """How often what an undisturbed run does once was done again."""

    tasks: int
    requests: int
    steps: int

    @classmethod
    def between(cls, undisturbed: Trace, *sittings: Trace) -> Self:
        def again(point: str) -> int:
            return sum(sitting.count(point) for sitting in sittings) - undisturbed.count(point)

        return cls(again("task-before-work"), again("engine-response"), again("training-step"))
