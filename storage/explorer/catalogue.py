"""What is worth knowing of a snapshot before anything is asked: its runs, its checkpoints and what made them, and where
each step's rows lie. Read once a snapshot, in about a second at ten million attempts.
"""

from collections import defaultdict
from dataclasses import dataclass

from storage.answers import Parent, Run
from storage.explorer.batches import Batches, read_batches
from storage.lineage import Lineage


@dataclass(frozen=True, slots=True)
class Placement:
    """Where something was written."""

    run_id: str
    iteration: int
    step: str


@dataclass(frozen=True, slots=True)
class Made:
    """A checkpoint with what it was directly made from."""

    checkpoint_id: str
    kind: str
    source: str | None
    training_id: str | None
    mix_id: str | None
    base_id: str | None


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An evaluation in a step of a run."""

    evaluation_id: str
    run_id: str
    iteration: int
    split: str
    n: int
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One snapshot's."""

    runs: dict[str, Run]
    attempts: Batches
    verdicts: Batches
    written: dict[str, Placement]
    checkpoints: dict[str, Made]
    stands_on: dict[str, list[Parent]]
    supports: dict[str, list[tuple[str, Parent]]]
    trained: dict[str, list[str]]
    started: dict[str, list[str]]
    evaluations: list[Evaluated]
    steps: list[str]
    strata: list[str]
    counts: dict[str, int]

    def run_name(self, run_id: str) -> str:
        return self.runs[run_id].name if run_id in self.runs else "no run"

    def place(self, identity: str) -> str:
        """Where a checkpoint, mix or evaluation was made first, in words; empty if that is not known."""
        found = self.written.get(identity)
        if found is None:
            return ""
        return f"{'base' if found.iteration == 0 else f'iteration {found.iteration}'} · {self.run_name(found.run_id)}"


COUNTED = ("attempt", "verdict", "example", "problem", "prompt", "mix", "checkpoint", "evaluation")


def read_catalogue(lineage: Lineage) -> Catalogue:
    """All of it."""
    attempts, verdicts = read_batches(lineage, "attempt"), read_batches(lineage, "verdict")
    written: dict[str, Placement] = {}
    for identity, run, iteration, step in lineage.rows(
        "select m.id, s.run_id, s.iteration, s.name from shard h join member m on m.digest = h.digest "
        "join step_shard o on o.digest = h.digest and o.direction = 'output' join step s on s.step_id = o.step_id "
        "where h.table_name in ('checkpoint', 'mix', 'evaluation') order by s.event_seq", [],
    ):  # fmt: skip
        written.setdefault(identity, Placement(run, iteration, step))
    checkpoints = {
        row[0]: Made(*row)
        for row in lineage.rows(
            "select c.checkpoint_id, c.kind, c.source, c.training_id, t.mix_id, coalesce(t.base_checkpoint_id, c.parent_id) "
            "from checkpoint c left join training t using (training_id)", [],
        )
    }  # fmt: skip
    stands_on: dict[str, list[Parent]] = defaultdict(list)
    supports: dict[str, list[tuple[str, Parent]]] = defaultdict(list)
    for mix, relation, parent, examples in lineage.rows(
        "select mix_id, relation, parent_id, examples from v_mix_parent order by examples desc, relation", []
    ):
        stands_on[mix].append(Parent(relation, parent, examples))
        supports[parent].append((mix, Parent(relation, parent, examples)))
    trained, started = defaultdict(list), defaultdict(list)
    for one in checkpoints.values():
        if one.mix_id:
            trained[one.mix_id].append(one.checkpoint_id)
        if one.base_id and one.base_id != one.checkpoint_id:
            started[one.base_id].append(one.checkpoint_id)
    return Catalogue(
        runs={run.run_id: run for run in lineage.runs()},
        attempts=attempts,
        verdicts=verdicts,
        written=written,
        checkpoints=checkpoints,
        stands_on=stands_on,
        supports=supports,
        trained=trained,
        started=started,
        evaluations=_evaluations(lineage),
        steps=sorted({one.step for one in attempts.placed}),
        strata=[
            row[0] for row in lineage.rows("select distinct stratum from problem where stratum <> '' limit 500", [])
        ],
        counts={table: lineage.rows(f"select count(*) from {table}", [])[0][0] for table in COUNTED},
    )


def _evaluations(lineage: Lineage) -> list[Evaluated]:
    query = (
        "select distinct e.evaluation_id, s.run_id, s.iteration, e.split, e.n, e.accuracy from shard h "
        "join member m on m.digest = h.digest join evaluation e on e.evaluation_id = m.id "
        "join step_shard o on o.digest = h.digest and o.direction = 'output' join step s on s.step_id = o.step_id "
        "where h.table_name = 'evaluation' order by s.run_id, e.split, s.iteration"
    )
    return [Evaluated(*row) for row in lineage.rows(query, [])]
