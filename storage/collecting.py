"""What no kept run needs any more: found first, removed when asked to.

A run is kept until it is dropped by name. What a kept run's steps read and wrote stays, and what that was made from, step by
step back to the base, also where a dropped run made it; so every question about what stays is still answered.

While a kept run is unfinished, whatever is younger than its start stays too: it goes on from that. Weights under an alias in
MLflow stay with their lineage. A version without an alias has files of its own and needs none of ours, an adapter's base aside.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from storage.erasures import Erased, Erasures
from storage.events import (
    COLLECTED,
    ERASING,
    PROMOTION_ABANDONED,
    PROMOTION_REFUSED,
    RUN_FINISHED,
    RUN_STARTED,
    STEP_COMMITTED,
)
from storage.home import Home
from storage.ledger import Ledger
from storage.records import Tombstone
from storage.redo import checkpoints_in, made_by, read_by
from storage.results import Result, results
from storage.retention import Rule, surplus

UNFINISHED = ("running", "failed", "cancelled", "stopped")


@dataclass(frozen=True, slots=True)
class Going:
    """One thing that would go. `kind`: shard, checkpoint, result, journal, training, report, log or temporary; `path` below the home."""

    kind: str
    path: str
    bytes: int


@dataclass(slots=True)
class Plan:
    """What would go, and why what one might expect to go does not. `steps` are of the dropped `runs`, `weights` checkpoints of kept ones."""

    runs: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    going: list[Going] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    erased: list[Erased] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.going)


@dataclass(frozen=True, slots=True)
class _Commit:
    """A committed step as an event told it; `current`: it is what stands in the ledger."""

    step_id: str
    run_id: str
    made: set[str]
    read: set[str]
    current: bool
    training_id: str | None


def plan(ledger: Ledger, drop: Sequence[str], pinned: Mapping[str, str], keep_weights: Rule | None = None) -> Plan:
    """What goes when these runs are dropped (a group with its arms); nothing is changed.

    `pinned`: checkpoints that somebody else needs, and who. `keep_weights`: which of a kept run's checkpoints stay; None: as each run's
    configuration says.
    """
    with ledger.writer() as connection:
        dropped = _dropped(connection, drop)
        earlier = _ids(connection, "select run_id from run where state = 'dropped'")
        commits = list(_commits(connection, Erasures.of_ledger(connection)))
        shards = {
            digest.hex: table for digest, table in connection.execute("select digest, table_name from shard").fetchall()
        }
        since = _oldest_unfinished(connection, dropped)
        promoted = _promoted(connection)
        going = surplus(connection, keep_weights, {*pinned, *promoted})
    needed = _needed(commits, dropped | earlier, {*pinned, *promoted})
    keep = {identity for commit in needed for identity in commit.made | commit.read} | pinned.keys() | promoted
    kept_steps = {commit.step_id for commit in needed if commit.current}
    gone = [commit for commit in commits if commit.current and commit.step_id not in kept_steps]
    found = Plan(runs=sorted(dropped), steps=sorted(commit.step_id for commit in gone))
    home = ledger.home
    _collect_shards(home, found, keep, shards, since)
    found.weights = [one.checkpoint_id for one in going if (home.checkpoints / one.checkpoint_id).is_dir()]
    _collect_checkpoints(home, found, keep - set(found.weights), since)
    _collect_results(home, found)
    _collect_leftovers(home, found, since, {commit.training_id for commit in needed if commit.training_id})
    _collect_of_runs(home, found, dropped | earlier, gone)
    found.kept = _reasons(dropped, commits, kept_steps, pinned, since)
    return found


def collect(ledger: Ledger, found: Plan) -> None:
    """Carries a plan out; the caller has the home alone since before it was made."""
    shards = {f"shards/{one.table}/{one.digest}.parquet" for one in found.erased}
    ledger.record(
        COLLECTED,
        {
            "runs": found.runs,
            "steps": found.steps,
            "erased": [one.plain() for one in found.erased],
            "files": [one.path for one in found.going if one.path not in shards],
            "bytes": found.bytes,
            "weights": found.weights,
        },
    )


def _dropped(connection: duckdb.DuckDBPyConnection, drop: Sequence[str]) -> set[str]:
    """The runs named, and the arms of those that are groups, unless a group that stays has them too."""
    rows = connection.execute("select run_id, parent_run_id, facts->'arms' from run").fetchall()
    groups = {run.hex: set(json.loads(arms)) for run, _, arms in rows if arms}
    for run, parent, _ in rows:
        if parent is not None:
            groups.setdefault(parent.hex, set()).add(run.hex)
    wanted = set(drop)
    staying = {arm for group, arms in groups.items() if group not in wanted for arm in arms}
    return wanted | {arm for group in wanted for arm in groups.get(group, ()) if arm not in staying}


def _commits(connection: duckdb.DuckDBPyConnection, erasures: Erasures) -> Iterator[_Commit]:
    current = {row[0] for row in connection.execute("select event_seq from step").fetchall()}
    checkpoints = checkpoints_in(connection)
    query = "select seq, payload from event where kind = ? order by seq"
    for seq, payload in connection.execute(query, [STEP_COMMITTED]).fetchall():
        step = json.loads(payload)
        made, read = made_by(step, erasures, checkpoints), read_by(step, erasures)
        training = step["facts"].get("training_id")
        yield _Commit(step["step_id"], step["run_id"], made, read, seq in current, training)


def _needed(commits: list[_Commit], dropped: AbstractSet[str], pinned: AbstractSet[str]) -> list[_Commit]:
    """The steps of kept runs, and, step by step back, one that made each thing that a needed one read."""
    makers: dict[str, list[_Commit]] = {}
    for commit in commits:
        for identity in commit.made:
            makers.setdefault(identity, []).append(commit)
    needed = [commit for commit in commits if commit.current and commit.run_id not in dropped]
    made = {identity for commit in needed for identity in commit.made}
    waiting = [identity for commit in needed for identity in commit.read] + sorted(pinned)
    while waiting:
        identity = waiting.pop()
        if identity in made or identity not in makers:
            continue
        maker = max(makers[identity], key=lambda commit: commit.current)
        needed.append(maker)
        made |= maker.made
        waiting += maker.read
    return needed


def _collect_shards(
    home: Home, found: Plan, keep: AbstractSet[str], known: dict[str, str], since: float | None
) -> None:
    for path in sorted(home.shards.glob("*/[!.]*.parquet")):
        table, digest = path.parent.name, path.stem
        stays = digest in keep or table == Tombstone.TABLE or (digest not in known and _young(path, since))
        if not stays:
            found.going.append(_going(home, "shard", path))
            found.erased.append(Erased(table, digest))
    on_disk = {one.digest for one in found.erased}
    found.erased += [Erased(t, d) for d, t in sorted(known.items()) if d not in keep | on_disk and t != Tombstone.TABLE]


def _collect_checkpoints(home: Home, found: Plan, keep: AbstractSet[str], since: float | None) -> None:
    for folder in sorted(home.checkpoints.iterdir()):
        surplus_of_kept = folder.name in found.weights
        if folder.is_dir() and folder.name not in keep and (surplus_of_kept or not _young(folder, since)):
            found.going.append(_going(home, "checkpoint", folder, links=2 if surplus_of_kept else 1))


def _collect_results(home: Home, found: Plan) -> None:
    """Those that name something that goes or is not there: no hit any more."""
    gone = {Path(one.path).stem for one in found.going if one.kind in ("shard", "checkpoint")}
    for result in results(home):
        if isinstance(result, Result):
            named = {digest for manifest in result.manifests for digest in manifest.shards}
            there = all(
                (home.shards / manifest.table / f"{digest}.parquet").is_file()
                for manifest in result.manifests for digest in manifest.shards
            )  # fmt: skip
            if there and (named | result.read | {result.checkpoint_id}).isdisjoint(gone):
                continue
        path = result.path if isinstance(result, Result) else result
        found.going.append(_going(home, "result", path))


def _collect_leftovers(home: Home, found: Plan, since: float | None, trained: AbstractSet[str]) -> None:
    """What killed processes left: journals and trainings that nobody goes on from, and files that never got their name.

    What is written down of a finished training stays with the steps that did it.
    """
    for kind, folder in (("journal", home.journals), ("training", home.trainings)):
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            finished = path.is_file() and path.stem in trained
            if not finished and not _young(path, since):
                found.going.append(_going(home, kind, path))
    taken = [home.root / one.path for one in found.going]
    for path in sorted({*home.root.rglob(".*.tmp"), *home.root.rglob(".*.tmp.wal"), *home.root.glob(".probe-*")}):
        if path.is_file() and not any(path.is_relative_to(other) for other in taken):
            found.going.append(_going(home, "temporary", path))


def _collect_of_runs(home: Home, found: Plan, runs: AbstractSet[str], gone: list[_Commit]) -> None:
    places = [("report", home.reports / f"{run}.html") for run in sorted(runs)]
    places += [("log", home.logs / f"training-{one.training_id}.log") for one in gone if one.training_id]
    found.going += [_going(home, kind, path) for kind, path in dict.fromkeys(places) if path.is_file()]


def _reasons(
    dropped: AbstractSet[str],
    commits: list[_Commit],
    kept: AbstractSet[str],
    pinned: Mapping[str, str],
    since: float | None,
) -> list[str]:
    staying = sum(commit.current and commit.run_id in dropped and commit.step_id in kept for commit in commits)
    made = {identity for commit in commits if commit.run_id in dropped for identity in commit.made}
    reasons = [f"checkpoint {one} stays: {why}" for one, why in sorted(pinned.items()) if one in made]
    if staying:
        reasons.append(f"{staying} steps of dropped runs stay: what is kept was made from them")
    if since is not None:
        when = datetime.fromtimestamp(since, UTC).isoformat(" ", "seconds")
        reasons.append(
            f"what no step names and is younger than {when} stays: a kept run that began then is unfinished and goes on "
            "from it; finish or drop it"
        )
    return reasons


def _oldest_unfinished(connection: duckdb.DuckDBPyConnection, dropped: AbstractSet[str]) -> float | None:
    rows = connection.execute("select run_id, state, started_at from run").fetchall()
    begun = [
        at.replace(tzinfo=UTC).timestamp() for run, state, at in rows if state in UNFINISHED and run.hex not in dropped
    ]
    return min(begun, default=None)


def _promoted(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Checkpoints that a decision names: a promotion that took place, a rollback, whatever else is no run's own bookkeeping."""
    own = [
        RUN_STARTED,
        RUN_FINISHED,
        STEP_COMMITTED,
        "iteration_finished",
        PROMOTION_REFUSED,
        PROMOTION_ABANDONED,
        *ERASING,
    ]
    query = (
        "select distinct payload->>'checkpoint_id' from event where kind not in (select unnest(?)) "
        "and payload->>'checkpoint_id' is not null"
    )
    return {row[0] for row in connection.execute(query, [own]).fetchall()}


def _ids(connection: duckdb.DuckDBPyConnection, query: str) -> set[str]:
    return {row[0].hex for row in connection.execute(query).fetchall()}


def _young(path: Path, since: float | None) -> bool:
    return since is not None and path.stat().st_mtime >= since


def _going(home: Home, kind: str, path: Path, links: int = 1) -> Going:
    """Its bytes are those that come free: a file that MLflow's copy shares counts nothing, unless that goes too (`links` 2)."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    freed = sum(stat.st_size for stat in (file.stat() for file in files) if stat.st_nlink <= links)
    return Going(kind, str(path.relative_to(home.root)), freed)
