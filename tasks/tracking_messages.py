"""What MLflow can be told about a loop: that it began, an iteration of it, a checkpoint of it, its end.

Iteration(loop_id, iteration_id, 1, at=now, metrics={"held_out_accuracy": 0.61},
          datasets=(DatasetUse("addition", mix_id, rows=5000),))
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from storage.errors import UserMistake

PARAM_LENGTH = 500
"""Longer parameter values are cut; the whole configuration is in the ledger."""

TIMES = frozenset({"at", "started_at"})
"""Fields that say when; they make no message a different one."""

DURATIONS = ("seconds_", "wall_s", "system/")
"""Metrics that start like this say how long something took, or what it asked of the machine. Another sitting takes another time, which
is no news."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A run of a method: one parent run in MLflow. `params` are flat; what is None is left out."""

    KIND: ClassVar[str] = "loop"
    SUBJECT: ClassVar[tuple[str, ...]] = ("loop_id",)
    loop_id: str
    name: str
    experiment: str
    method: str
    preset: str
    started_at: datetime
    params: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DatasetUse:
    """A training set that an iteration used, under its mix id."""

    name: str
    mix_id: str
    rows: int


@dataclass(frozen=True, slots=True)
class Iteration:
    """A finished iteration: one child run, and one point of every metric's curve on the parent."""

    KIND: ClassVar[str] = "iteration"
    SUBJECT: ClassVar[tuple[str, ...]] = ("loop_id", "iteration_id")
    loop_id: str
    iteration_id: str
    iteration: int
    at: datetime
    started_at: datetime | None = None
    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    datasets: tuple[DatasetUse, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Registration:
    """A checkpoint to be a version of `model_name`, under `alias` if it has one. `evidence` becomes the version's tags.

    `kind`: full or adapter; an adapter names the folder of its base, whose weights are never copied.
    """

    KIND: ClassVar[str] = "checkpoint"
    SUBJECT: ClassVar[tuple[str, ...]] = ("model_name", "checkpoint_id", "loop_id")
    loop_id: str
    iteration_id: str
    iteration: int
    checkpoint_id: str
    folder: Path
    model_name: str
    at: datetime
    started_at: datetime | None = None
    alias: str | None = "candidate"
    evidence: Mapping[str, object] = field(default_factory=dict)
    kind: str = "full"
    base_folder: Path | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w .-]+", self.model_name):
            raise UserMistake(
                f"{self.model_name!r} cannot name a model in MLflow; use letters, digits, '_', '-', '.' and spaces"
            )
        if self.kind not in ("full", "adapter") or (self.kind == "adapter") != (self.base_folder is not None):
            raise UserMistake(
                f"a checkpoint of kind {self.kind!r} cannot be registered like this; give kind full, or adapter with base_folder"
            )


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a loop. `state`: completed, stopped (at a limit), failed or cancelled; `metrics` stand on the parent at step `iteration`."""

    KIND: ClassVar[str] = "finish"
    SUBJECT: ClassVar[tuple[str, ...]] = ("loop_id",)
    loop_id: str
    state: str
    at: datetime
    iteration: int = 0
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


Message = Loop | Iteration | Registration | Finish

KINDS: dict[str, type[Loop] | type[Iteration] | type[Registration] | type[Finish]] = {
    kind.KIND: kind for kind in (Loop, Iteration, Registration, Finish)
}


def said(message: Message, root: Path) -> dict[str, Any]:
    """The message as JSON values: paths relative to the home where they are in it, no metric that is not a number."""

    def plain(value: object) -> object:
        match value:
            case datetime():
                return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
            case Path():
                inside = value.resolve().is_relative_to(root.resolve())
                return str(value.resolve().relative_to(root.resolve()) if inside else value.resolve())
            case DatasetUse():
                return {"name": value.name, "mix_id": value.mix_id, "rows": value.rows}
            case Mapping():
                return {str(key): plain(item) for key, item in value.items() if not _nothing(item)}
            case tuple() | list():
                return [plain(item) for item in value]
            case None | bool() | int() | float() | str():
                return value
            case _:
                return str(value)

    return {item.name: plain(getattr(message, item.name)) for item in fields(message)}


def content(said: dict[str, Any]) -> dict[str, Any]:
    """What of a message makes it a different one."""
    lasting = {name: value for name, value in said.items() if name not in TIMES}
    if "metrics" in lasting:
        lasting["metrics"] = {k: v for k, v in lasting["metrics"].items() if not k.startswith(DURATIONS)}
    return lasting


def _nothing(value: object) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def message(kind: str, said: dict[str, Any], root: Path) -> Message:
    """What `said` made of a message, as a message again, its paths below `root`."""

    def values() -> Iterator[tuple[str, Any]]:
        for name, value in said.items():
            if value is not None and name in TIMES:
                yield name, datetime.fromisoformat(value)
            elif value is not None and name in ("folder", "base_folder"):
                yield name, root / value
            elif name == "datasets":
                yield name, tuple(DatasetUse(**use) for use in value or ())
            else:
                yield name, value

    return KINDS[kind](**dict(values()))


def text(value: object) -> str:
    """A parameter or tag as MLflow holds it: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def short(value: object) -> str:
    """`text`, cut to PARAM_LENGTH with its full length said."""
    full = text(value)
    return full if len(full) <= PARAM_LENGTH else f"{full[: PARAM_LENGTH - 24]}… ({len(full)} characters)"


def milliseconds(at: datetime) -> int:
    """A time as MLflow holds it, since 1970."""
    return round(at.timestamp() * 1000)
