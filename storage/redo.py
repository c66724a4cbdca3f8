"""What would be done again if some shards were different: the committed steps that made or read them, and all that follows.

Followed through the steps' keys: a step depends on the shards and checkpoints that its arguments name. It is the most that
can be redone; where a step comes out as it was, what follows it is found cached.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from storage.erasures import Erasures
from storage.results import ids_in


@dataclass(frozen=True, slots=True)
class Redo:
    """The steps of one run that would be redone, by iteration and name, with the number of cells."""

    run_id: str
    name: str
    state: str
    steps: list[tuple[int, str, int]]


def redo(connection: duckdb.DuckDBPyConnection, digests: Iterable[str]) -> list[Redo]:
    """What depends on these shards, run by run, the earliest first."""
    query = (
        "select s.step_id, s.run_id, s.iteration, s.name, e.payload from step s join event e on e.seq = s.event_seq "
        "join run r using (run_id) order by r.started_at, s.event_seq"
    )
    erasures, checkpoints = Erasures.of_ledger(connection), checkpoints_in(connection)
    made: dict[str, set[str]] = {}
    readers: dict[str, set[str]] = defaultdict(set)
    placed: dict[str, tuple[str, int, str]] = {}
    for step_id, run_id, iteration, name, payload in connection.execute(query).fetchall():
        step = json.loads(payload)
        placed[step_id.hex] = (run_id.hex, iteration, name)
        made[step_id.hex] = made_by(step, erasures, checkpoints)
        for identity in made[step_id.hex] | read_by(step, erasures):
            readers[identity].add(step_id.hex)
    affected: set[str] = set()
    waiting = [step for digest in digests for step in readers[digest]]
    while waiting:
        if (step := waiting.pop()) not in affected:
            affected.add(step)
            waiting += [reader for identity in made[step] for reader in readers[identity]]
    return list(_by_run(connection, [place for step, place in placed.items() if step in affected]))


def checkpoints_in(connection: duckdb.DuckDBPyConnection) -> dict[str, set[str]]:
    """Shards of checkpoints to the checkpoints that they hold."""
    query = "select m.digest, m.id from member m join shard h using (digest) where h.table_name = 'checkpoint'"
    found: dict[str, set[str]] = {}
    for digest, identity in connection.execute(query).fetchall():
        found.setdefault(digest.hex, set()).add(identity.hex)
    return found


def made_by(step: dict[str, Any], erasures: Erasures, checkpoints: Mapping[str, set[str]]) -> set[str]:
    """The shards that a committed step gave back, as they are called after what was forgotten since, and its checkpoint."""
    shards = _now((digest for manifest in step["outputs"].values() for digest in manifest["shards"]), erasures)
    return shards.union(*(checkpoints.get(digest, ()) for digest in shards))


def read_by(step: dict[str, Any], erasures: Erasures) -> set[str]:
    """The shards and checkpoints that it was given."""
    shards = {digest for manifest in step["inputs"].values() for digest in manifest["shards"]}
    return _now(shards | ids_in(json.dumps(step["key_parts"].get("arguments", {}))), erasures)


def _now(identities: Iterable[str], erasures: Erasures) -> set[str]:
    return {now for identity in identities if (now := erasures.now(identity, 0)) is not None}


def _by_run(connection: duckdb.DuckDBPyConnection, places: list[tuple[str, int, str]]) -> Iterator[Redo]:
    runs: dict[str, dict[tuple[int, str], int]] = {}
    for run_id, iteration, name in places:
        steps = runs.setdefault(run_id, {})
        steps[iteration, name] = steps.get((iteration, name), 0) + 1
    for run_id, steps in runs.items():
        query = "select name, state from run where run_id = ?"
        name, state = connection.execute(query, [run_id]).fetchall()[0]
        yield Redo(run_id, name, state, [(iteration, title, cells) for (iteration, title), cells in steps.items()])
