"""What a step read and wrote, by name: shards (`shard/attempt/8d1f…`), training sets (`mix/9a02…`), checkpoints (`checkpoint/51e0…`)."""

from dataclasses import dataclass
from typing import Any

from storage.answers import Step
from storage.lineage import Lineage


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


def shards_of(lineage: Lineage, run_id: str) -> dict[str, list[StepShard]]:
    """What each step of a run read and wrote, by step id, in the order of its manifests."""
    source = (
        "(select o.step_id, o.direction, o.role, h.table_name, o.digest, h.rows, o.position from step_shard o "
        "join shard h using (digest) join step s using (step_id) where s.run_id = ?)"
    )
    found: dict[str, list[StepShard]] = {}
    for shard in lineage.read(StepShard, source, "true", [run_id], "step_id, direction, role, position"):
        found.setdefault(shard.step_id, []).append(shard)
    return found


def read_by(step: Step, shards: list[StepShard]) -> dict[str, StepShard | None]:
    """Name to shard (None for what is none) of everything that a step worked with."""
    arguments: dict[str, Any] = step.key_parts.get("arguments", {})
    read: dict[str, StepShard | None] = {shard.name: shard for shard in shards if shard.direction == "input"}
    if arguments.get("mix_id"):
        read[f"mix/{arguments['mix_id']}"] = None
    for name in ("checkpoint_id", "base_checkpoint_id"):
        if arguments.get(name):
            read[f"checkpoint/{arguments[name]}"] = None
    return read


def written_by(step: Step, shards: list[StepShard]) -> dict[str, StepShard | None]:
    """Name to shard (None for what is none) of everything that a step made."""
    outputs = [shard for shard in shards if shard.direction == "output"]
    tables = {shard.table_name for shard in outputs}
    written: dict[str, StepShard | None] = {shard.name: shard for shard in outputs}
    for table in ("mix", "checkpoint"):
        if table in tables and (identity := step.facts.get(f"{table}_id")):
            written[f"{table}/{identity}"] = None
    return written
