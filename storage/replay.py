"""The ledger as a function of events and shards: what each event changes in the tables.

Committing, catching up after a kill, and rebuilding from nothing are this one path. Where two shards hold a row with
the same id, the first in the order of events stays, so the result does not depend on how often it was interrupted.
What was erased since is left out from the start: an erasure is no change to the tables, but other tables.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import duckdb

from storage.erasures import ErasureAhead, Erasures, erased_by, is_erasure
from storage.events import COLLECTED, FORGOTTEN, PROMOTING, RUN_FINISHED, RUN_STARTED, STEP_COMMITTED, Event
from storage.faults import reached
from storage.identity import canonical_json, content_id
from storage.ingest import Named, take_in
from storage.manifest import Manifest
from storage.shards import Shards

_BATCH_EVENTS = 1000
_BATCH_ROWS = 500_000


def replay(
    connection: duckdb.DuckDBPyConnection,
    events: Iterable[Event],
    shards: Shards,
    erasures: Callable[[], Erasures],
    *,
    anew: bool = False,
) -> int:
    """Applies events that the ledger does not know yet, in order, a transaction a batch; returns the last number.

    A shard that is missing or damaged is left out, and taken in when a later event brings it again; `verify` names it.
    Raises ErasureAhead at an erasure, unless the ledger is made `anew` and `erasures` has them all.
    """
    last = 0
    known: Erasures | None = None
    for batch in _batches(events):
        if not anew and any(map(is_erasure, batch)):
            raise ErasureAhead
        known = known or erasures()
        try:
            _take_in(connection, shards, batch, known, trust=not anew)
        except duckdb.Error:  # a file changed after this process wrote it: this time each is read and digested first
            _take_in(connection, shards, batch, known, trust=False)
        last = batch[-1].seq
    return last


def _take_in(
    connection: duckdb.DuckDBPyConnection, shards: Shards, batch: list[Event], erasures: Erasures, *, trust: bool
) -> None:
    connection.execute("begin")
    try:
        take_in(connection, shards, _named(batch, erasures), trust=trust)
        _apply(connection, batch, erasures)
        reached("ingest-before-commit")
        connection.execute("commit")
        reached("ingest-after-commit")
    except BaseException:
        connection.execute("rollback")
        raise


def manifests(payload: Mapping[str, Any]) -> Iterator[tuple[str, str, Manifest]]:
    """Direction, role and manifest of everything that a committed step read and wrote."""
    for direction in ("input", "output"):
        for role, named in payload[f"{direction}s"].items():
            yield direction, role, _manifest(named)


def _manifest(named: Mapping[str, Any]) -> Manifest:
    return Manifest(named["table"], tuple(named["shards"]), named["rows"])


def _batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    batch: list[Event] = []
    rows = 0
    for event in events:
        batch.append(event)
        if event.kind == STEP_COMMITTED:
            rows += sum(manifest.rows for direction, _, manifest in manifests(event.payload) if direction == "output")
        if len(batch) == _BATCH_EVENTS or rows >= _BATCH_ROWS:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def _named(events: Iterable[Event], erasures: Erasures) -> list[Named]:
    """The shards that events name, as they are now."""
    return [
        Named(manifest.table, digest)
        for event in events
        for manifest in _manifests_of(event, erasures)
        for _, digest in erasures.places(manifest, event.seq)
    ]


def _manifests_of(event: Event, erasures: Erasures) -> list[Manifest]:
    if event.kind == FORGOTTEN:
        return [_manifest(event.payload["tombstones"])]
    if event.kind != STEP_COMMITTED or erasures.drops(event):
        return []
    return [manifest for _, _, manifest in manifests(event.payload)]


def _apply(connection: duckdb.DuckDBPyConnection, events: list[Event], erasures: Erasures) -> None:
    """Runs, steps, promotions and erasures. An event of another kind is kept in `event`, for the view or the later version that knows it."""
    steps: dict[str, Event] = {}
    for event in events:
        if event.kind == RUN_STARTED:
            _start_run(connection, event)
        elif event.kind == RUN_FINISHED:
            _finish_run(connection, event)
        elif event.kind == STEP_COMMITTED and not erasures.drops(event):
            steps[event.payload["step_id"]] = event
        elif is_erasure(event):
            _erase(connection, event)
    if steps:
        _commit_steps(connection, steps, erasures)
    _insert(connection, "promotion", [_promotion_row(event) for event in events if event.kind in PROMOTING])
    rows = [
        {"seq": event.seq, "happened_at": _utc(event), "kind": event.kind, "payload": canonical_json(event.payload)}
        for event in events
    ]
    _insert(connection, "event", rows)


def _start_run(connection: duckdb.DuckDBPyConnection, event: Event) -> None:
    """The first start makes the run; a later one with the same id goes on with it."""
    given = event.payload
    later = (
        "update run set state = 'running', starts = starts + 1, finished_at = null, name = ?, preset = ?, config = ?, "
        "prefect_flow_run_id = ? where run_id = ? returning run_id"
    )
    shared = [given["name"], given.get("preset"), canonical_json(given["config"]), given.get("prefect_flow_run_id")]
    if connection.execute(later, [*shared, given["run_id"]]).fetchone():
        return
    row = {
        "run_id": given["run_id"], "name": given["name"], "method": given["method"], "preset": given.get("preset"),
        "config": canonical_json(given["config"]), "parent_run_id": given.get("parent_run_id"),
        "prefect_flow_run_id": given.get("prefect_flow_run_id"), "state": "running", "starts": 1,
        "started_at": _utc(event), "finished_at": None, "facts": "{}",
    }  # fmt: skip
    _insert(connection, "run", [row])


def _finish_run(connection: duckdb.DuckDBPyConnection, event: Event) -> None:
    given = event.payload
    connection.execute(
        "update run set state = ?, finished_at = ?, facts = ? where run_id = ?",
        [given["state"], _utc(event), canonical_json(given["facts"]), given["run_id"]],
    )


def _erase(connection: duckdb.DuckDBPyConnection, event: Event) -> None:
    """Writes down what went. A dropped run stays in the list, with the steps that kept runs build on."""
    _insert(connection, "erased", [
        {"digest": one.digest, "table_name": one.table, "replaced_by": one.replaced_by, "kind": event.kind,
         "event_seq": event.seq}
        for one in erased_by(event.payload)
    ])  # fmt: skip
    if event.kind == COLLECTED:
        connection.execute(
            "update run set state = 'dropped' where run_id in (select unnest(?::uuid[]))", [event.payload["runs"]]
        )


def _promotion_row(event: Event) -> dict[str, Any]:
    given = event.payload
    plain = (
        "checkpoint_id",
        "version",
        "previous_checkpoint_id",
        "previous_version",
        "run_id",
        "judged_in",
        "reason",
        "looks",
    )
    return {
        "promotion_id": given.get("promotion_id") or content_id("promotion", seq=event.seq), "event_seq": event.seq,
        "happened_at": _utc(event), "state": PROMOTING[event.kind], "action": given.get("action", "promote"),
        "model_name": given.get("model_name", ""), "alias": given.get("alias", "champion"),
        "destination": given.get("destination", "home"), **{name: given.get(name) for name in plain},
        "forced": given.get("forced", False), "gates": canonical_json(given.get("gates", [])),
    }  # fmt: skip


def _commit_steps(connection: duckdb.DuckDBPyConnection, steps: dict[str, Event], erasures: Erasures) -> None:
    """A run has one step a place (iteration, name, cell); committed again, it is what it was made the last time."""
    ids = [list(steps)]
    if connection.execute("delete from step where step_id in (select unnest(?::uuid[])) returning 1", ids).fetchall():
        connection.execute("delete from step_shard where step_id in (select unnest(?::uuid[]))", ids)
    _insert(connection, "step", [_step_row(event) for event in steps.values()])
    _insert(connection, "step_shard", [
        {"step_id": step_id, "direction": direction, "role": role, "position": position, "digest": digest}
        for step_id, event in steps.items()
        for direction, role, manifest in manifests(event.payload)
        for position, digest in erasures.places(manifest, event.seq)
    ])  # fmt: skip


def _step_row(event: Event) -> dict[str, Any]:
    given = event.payload
    counts = given["accounting"]
    return {
        "step_id": given["step_id"], "run_id": given["run_id"], "iteration": given["iteration"], "name": given["name"],
        "cell": given["cell"], "cache_key": given["cache_key"], "key_parts": canonical_json(given["key_parts"]),
        "hit": given["hit"], "prefect_task_run_id": given["prefect_task_run_id"], "startup_s": given["startup_s"],
        "work_s": given["work_s"], "asked": counts["asked"], "ok": counts["ok"], "rejected": counts["rejected"],
        "undecided": counts["undecided"], "failed": counts["failed"], "facts": canonical_json(given["facts"]),
        "committed_at": _utc(event), "event_seq": event.seq,
    }  # fmt: skip


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    """Inserts small rows by name, in one statement: each costs a millisecond, however few rows it has."""
    if rows:
        names = ", ".join(rows[0])
        values = ", ".join("unnest(?)" for _ in rows[0])
        columns = [[row[name] for row in rows] for name in rows[0]]
        connection.execute(f"insert into {table} ({names}) select {values}", columns)


def _utc(event: Event) -> datetime:
    return event.at.replace(tzinfo=None)
