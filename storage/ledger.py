"""The ledger: what has been done, in DuckDB, made from events and shards and nothing else.

    >>> ledger = Ledger(home)
    >>> run_id = ledger.start_run("demo", "star", "addition-quick", config)
    >>> ledger.commit_steps([StepCommit(run_id, 0, "sample", "0000", key, parts, False, None, 0.1, 2.3, {}, output)])
    >>> ledger.finish_run(run_id, "completed", {})
    >>> ledger.publish(force=True)                      # lineage.duckdb, for readers

An event file is on the disk before the database hears of it, and the database only ever replays event files. So a
process that dies anywhere loses nothing: the next one to open the ledger replays what is missing.
"""

import dataclasses
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb

from storage import erasing, integrity, snapshot
from storage.database import LOCK_WAIT_S, Database, log_of
from storage.erasures import ErasureAhead, Erasures
from storage.errors import AccountingError, DamagedShard, UserMistake
from storage.events import ERASING, FORGOTTEN, RUN_FINISHED, RUN_STARTED, STEP_COMMITTED, Draft, Event, Events
from storage.home import Home, temporary_beside, writing
from storage.identity import canonical_json, content_id
from storage.manifest import Manifest, Output
from storage.replay import replay
from storage.shards import Shards

_PUBLISH_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class StepCommit:
    """One finished step of a run. `cell` tells apart the steps of one name in one iteration; times are in seconds.

    `reused`: rows that were in the ledger or in a journal before.
    """

    run_id: str
    iteration: int
    name: str
    cell: str
    cache_key: str
    key_parts: Mapping[str, Any]
    hit: bool
    prefect_task_run_id: str | None
    startup_s: float
    work_s: float
    inputs: Mapping[str, Manifest]
    output: Output
    reused: int = 0

    @property
    def step_id(self) -> str:
        """The step's place: run, iteration, name and cell. What it did there may be committed again."""
        return content_id("step", run=self.run_id, iteration=self.iteration, name=self.name, cell=self.cell)

    def payload(self) -> dict[str, Any]:
        """The event's payload, plain JSON."""
        return {
            "step_id": self.step_id,
            "run_id": self.run_id,
            "iteration": self.iteration,
            "name": self.name,
            "cell": self.cell,
            "cache_key": self.cache_key,
            "key_parts": dict(self.key_parts),
            "hit": self.hit,
            "prefect_task_run_id": self.prefect_task_run_id,
            "startup_s": float(self.startup_s),
            "work_s": float(self.work_s),
            "reused": self.reused,
            "inputs": {role: _named(manifest) for role, manifest in self.inputs.items()},
            "outputs": {role: _named(manifest) for role, manifest in self.output.manifests.items()},
            "accounting": dataclasses.asdict(self.output.accounting),
            "facts": dict(self.output.facts),
        }


class Ledger:
    """The ledger of one home. Any thread may call it; each call holds the lock for as long as it takes."""

    def __init__(self, home: Home, lock_wait_s: float = LOCK_WAIT_S) -> None:
        self.home = home
        self.shards = Shards(home)
        self.events = Events(home)
        self._database = Database(home, lock_wait_s)
        self._listed = False
        self._last = 0
        self._runs: set[str] = set()
        self._changed = True
        self._published_at = 0.0
        self._publish_s = 0.0

    def start_run(
        self,
        name: str,
        method: str,
        preset: str | None,
        config: Mapping[str, Any],
        *,
        run_id: str | None = None,
        parent_run_id: str | None = None,
        prefect_flow_run_id: str | None = None,
    ) -> str:
        """Records that a run starts, or goes on if `run_id` is already known; returns its id."""
        identity = run_id or uuid.uuid4().hex
        payload = {"run_id": identity, "name": name, "method": method, "preset": preset, "config": dict(config),
                   "parent_run_id": parent_run_id, "prefect_flow_run_id": prefect_flow_run_id}  # fmt: skip
        self.record(RUN_STARTED, payload)
        return identity

    def finish_run(self, run_id: str, state: str, facts: Mapping[str, Any] | None = None) -> None:
        """Records how a run ended: completed, failed, cancelled or stopped, with its final figures."""
        self.record(RUN_FINISHED, {"run_id": run_id, "state": state, "facts": dict(facts or {})})

    def record(self, kind: str, payload: Mapping[str, Any]) -> Event:
        """Records any other decision (promotion, adoption, erasure) as an event; `v_event` shows it.

        An erasure is carried out before this returns, and the snapshot published: event first, then files, then both databases.
        A process that dies on the way leaves the rest to the next one that opens the ledger.
        """
        recorded = self._append([Draft(kind, payload)])[0]
        if kind in ERASING:
            self.publish(force=True)
        return recorded

    def commit_steps(self, steps: Sequence[StepCommit]) -> list[str]:
        """Records steps and takes in the shards that are new; returns the ids of the steps that were.

        A step that stands in the ledger as it is given here, or is a hit on it, is left as it stands: a rerun adds
        nothing. Raises AccountingError for a step that lost or invented rows and DamagedShard for one whose shards
        are not there; then nothing is recorded.
        """
        for step in steps:
            self._check(step)
        if not steps:
            return []
        with self.writer() as connection:
            known = self._known(connection, steps)
            fresh = [step for step in steps if not _stands(step, known.get(step.step_id))]
            if fresh:
                self._append_locked(connection, [Draft(STEP_COMMITTED, step.payload()) for step in fresh])
        return [step.step_id for step in fresh]

    @contextmanager
    def writer(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to the ledger, caught up, with the lock held; changes only through events."""
        with self._database.locked(), self._caught_up() as connection:
            yield connection

    def catch_up(self) -> None:
        """Replays what a process that died had recorded but not committed."""
        with self.writer():
            pass

    def publish(self, force: bool = False) -> bool:
        """Replaces `lineage.duckdb` by the ledger as it is now; says whether it did.

        Without `force` it publishes only as often as keeps its cost under 2 % of the time that passes. A reader that
        has the old file open keeps it, undisturbed.
        """
        due = time.monotonic() >= self._published_at + self._publish_s / _PUBLISH_SHARE
        if not force and not (due and self._changed):
            return False
        started = time.monotonic()
        with self._database.locked():
            with self._caught_up(checkpoint=True):
                pass
            snapshot.publish(self.home, self._database)
        self._changed = False
        self._published_at = time.monotonic()
        self._publish_s = self._published_at - started
        return True

    def rebuild(self) -> None:
        """Makes the ledger anew from events and shards alone, and puts it in the old one's place when it is whole."""
        with self._database.locked():
            self._rebuild()

    def verify(self) -> list[str]:
        """What is wrong with the store, a sentence each; empty when nothing is.

        Checks every shard's digest, every event, uniqueness, every reference, the accounting, every checkpoint's files, every
        cached result, and that what was forgotten is gone.
        """
        with self.writer() as connection:
            return integrity.faults(connection, self.shards, self.events)

    def counted(self) -> dict[str, int]:
        """How much of each there is: what `verify` goes through."""
        with self.writer() as connection:
            counts = {
                what: connection.execute(query).fetchall()[0][0]
                for what, query in {
                    "shards": "select count(*) from shard",
                    "rows": "select coalesce(sum(rows), 0)::bigint from shard",
                    "events": "select count(*) from event",
                    "steps": "select count(*) from step",
                    "checkpoints": "select count(*) from checkpoint",
                }.items()
            }
        return counts | {"cached results": sum(path.is_file() for path in self.home.results.iterdir())}

    def close(self) -> None:
        """Lets the DuckDB instance go; the ledger can be used again, which opens another."""
        self._database.close()

    @contextmanager
    def _caught_up(self, *, checkpoint: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """The ledger, attached, with every event in it; an erasure that stands in the way is carried out first."""
        with ExitStack() as stack:
            connection = stack.enter_context(self._database.attached(checkpoint=checkpoint))
            try:
                self._catch_up(connection)
            except ErasureAhead:
                stack.close()
                self._erase()
                connection = stack.enter_context(self._database.attached(checkpoint=checkpoint))
                self._catch_up(connection)
            yield connection

    def _erase(self) -> None:
        """Carries out the erasures that the ledger does not know; its own file, with their text in it, goes last."""
        for event in self.events.after(self._last):
            if event.kind in ERASING:
                erasing.carry_out(self.home, event)
        self._rebuild()

    def _rebuild(self) -> None:
        fresh = temporary_beside(self.home.ledger_db)
        try:
            with self._database.attached(fresh, checkpoint=True) as connection:
                replay(connection, self.events.all(), self.shards, self._all_erasures, anew=True)
            with writing(self.home.ledger_db):
                log_of(self.home.ledger_db).unlink(missing_ok=True)
                os.replace(fresh, self.home.ledger_db)
        finally:
            fresh.unlink(missing_ok=True)
            log_of(fresh).unlink(missing_ok=True)
        self._changed = True

    def _all_erasures(self) -> Erasures:
        """Every erasure there is; where a process died while it forgot something, that is completed."""
        for event in self.events.all():
            if event.kind == FORGOTTEN:
                erasing.carry_out(self.home, event)
        return Erasures.of_events(self.events.all())

    def _append(self, drafts: list[Draft]) -> list[Event]:
        with self.writer() as connection:
            recorded = self.events.append_all(drafts, after=self._last)
            erases = any(draft.kind in ERASING for draft in drafts)
            if not erases:
                self._catch_up(connection, self._last)
        if erases:
            self.catch_up()
        return recorded

    def _append_locked(self, connection: duckdb.DuckDBPyConnection, drafts: list[Draft]) -> list[Event]:
        recorded = self.events.append_all(drafts, after=self._last)
        self._catch_up(connection, self._last)
        return recorded

    def _catch_up(self, connection: duckdb.DuckDBPyConnection, last: int | None = None) -> None:
        if last is None:
            row = connection.execute("select coalesce(max(seq), 0) from event").fetchone()
            last = int(row[0]) if row else 0
        # A full listing once a process finds events behind a gap; after that the next numbers are enough.
        pending = self.events.following(last) if self._listed else self.events.after(last)
        self._last = last
        erasures = self._all_erasures if last == 0 else lambda: Erasures.of_ledger(connection)
        self._last = replay(connection, pending, self.shards, erasures, anew=last == 0) or last
        self._changed = self._changed or self._last > last
        self._listed = True

    def _check(self, step: StepCommit) -> None:
        accounting = step.output.accounting
        if not accounting.balanced:
            raise AccountingError(
                f"step {step.name} {step.cell} of iteration {step.iteration} was asked for {accounting.asked} rows and "
                f"accounts for {accounting.ok} ok, {accounting.rejected} rejected, {accounting.undecided} undecided and "
                f"{accounting.failed} failed; nothing after it starts"
            )
        for manifest in (*step.inputs.values(), *step.output.manifests.values()):
            if not self.shards.exists(manifest):
                lost = next(d for d in manifest.shards if not self.shards.path(manifest.table, d).is_file())
                raise DamagedShard(
                    f"step {step.name} {step.cell} names shard {lost} of {manifest.table}, which is missing; "
                    "run the same command again to make it anew"
                )

    def _known(self, connection: duckdb.DuckDBPyConnection, steps: Sequence[StepCommit]) -> dict[str, dict[str, Any]]:
        if unknown := {step.run_id for step in steps} - self._runs:
            query = "select run_id from run where run_id in (select unnest(?::uuid[]))"
            self._runs |= {row[0].hex for row in connection.execute(query, [list(unknown)]).fetchall()}
            if unknown := unknown - self._runs:
                raise UserMistake(f"there is no run {min(unknown)} in {self.home.root}; start it before its steps")
        rows = connection.execute(
            "select payload from event where seq in "
            "(select event_seq from step where step_id in (select unnest(?::uuid[])))",
            [[step.step_id for step in steps]],
        ).fetchall()
        payloads = [json.loads(row[0]) for row in rows]
        return {payload["step_id"]: payload for payload in payloads}


_LASTING = ("inputs", "outputs", "accounting", "facts", "cache_key")


def _stands(step: StepCommit, known: dict[str, Any] | None) -> bool:
    if known is None:
        return False
    given = step.payload()
    return all(canonical_json(given[part]) == canonical_json(known[part]) for part in _LASTING)


def _named(manifest: Manifest) -> dict[str, Any]:
    return {"table": manifest.table, "shards": list(manifest.shards), "rows": manifest.rows}
