"""What a step read and wrote, by name: shards (`shard/attempt/8d1f…`), training sets (`mix/9a02…`), checkpoints (`checkpoint/51e0…`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from storage.answers import Step
from storage.lineage import Lineage

Things = dict[str, "StepShard | None"]
"""Name to shard; None for a training set or a checkpoint, which is no shard but what stands in one."""


@dataclass(frozen=True, slots=True)
class StepShard:
    """A shard that a step read (`direction` input) or wrote (output)."""

    step_id: str
    direction: str
    role: str
    table_name: str
    digest: str
    rows: int

    @property
    def name(self) -> str:
        return f"shard/{self.table_name}/{self.digest}"


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What one step read and wrote, in the order of its manifests."""

    read: Things
    written: Things


def exchanged(lineage: Lineage, run_id: str, steps: Sequence[Step]) -> dict[str, Exchanged]:
    """What each step of a run read and wrote, by step id."""
    source = (
        "(select o.step_id, o.direction, o.role, h.table_name, o.digest, h.rows, o.position from step_shard o "
        "join shard h using (digest) join step s using (step_id) where s.run_id = ?)"
    )
    shards: dict[tuple[str, str], Things] = {}
    for shard in lineage.read(StepShard, source, "true", [run_id], "step_id, direction, role, position"):
        shards.setdefault((shard.step_id, shard.direction), {})[shard.name] = shard
    made: dict[str, list[str]] = {}
    query = "select step_id, table_name, id from v_output where run_id = ? and table_name in ('checkpoint', 'mix') order by 2, 3"
    for step_id, table, identity in lineage.rows(query, [run_id]):
        made.setdefault(step_id, []).append(f"{table}/{identity}")
    return {
        step.step_id: Exchanged(
            shards.get((step.step_id, "input"), {}) | dict.fromkeys(_named(step)),
            shards.get((step.step_id, "output"), {}) | dict.fromkeys(made.get(step.step_id, [])),
        )
        for step in steps
    }


def _named(step: Step) -> list[str]:
    """The training set and the checkpoints that a step's arguments name."""
    arguments: dict[str, Any] = step.key_parts.get("arguments", {})
    given = {"mix_id": "mix", "checkpoint_id": "checkpoint", "base_checkpoint_id": "checkpoint"}
    return [f"{kind}/{arguments[name]}" for name, kind in given.items() if arguments.get(name)]
