"""What two homes have in common: every row of the ledger, and what MLflow was told, times and durations aside."""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb

from storage.home import Home
from storage.ledger import Ledger
from storage.lineage import Lineage
from storage.weights import weights_digest

ASIDE = {
    "run": ("starts", "started_at", "finished_at", "prefect_flow_run_id"),
    "step": ("hit", "prefect_task_run_id", "startup_s", "work_s", "committed_at", "event_seq"),
}
"""Columns that say when, how long and how often; everything else has to be the same."""

TIMED = ("wall_s", "import_s", "steps")
"""Facts of a run that are durations, or that count what its last sitting found cached."""

Rows = dict[str, Counter[tuple[Any, ...]]]


def ledger_rows(home: Path) -> Rows:
    """Every row of every table of the snapshot, as a user reads it, with how often it is there; events aside."""
    with Lineage.open(Home(home), fresh=True):
        pass
    with duckdb.connect(str(home / "lineage.duckdb"), read_only=True) as connection:
        tables = [name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()]
        found: Rows = {}
        for table in sorted(set(tables) - {"event"}):
            left_out = f" exclude ({', '.join(ASIDE[table])})" if table in ASIDE else ""
            cursor = connection.execute(f"select *{left_out} from {table}")
            names = [column[0] for column in cursor.description or ()]
            found[table] = Counter(_plain(table, names, row) for row in cursor.fetchall())
        return found


def _plain(table: str, names: list[str], row: tuple[Any, ...]) -> tuple[Any, ...]:
    if table != "run":
        return row
    facts = json.loads(row[names.index("facts")])
    kept = {name: value for name, value in facts.items() if name not in TIMED}
    return tuple(json.dumps(kept, sort_keys=True) if name == "facts" else v for name, v in zip(names, row, strict=True))


def told(home: Path) -> Rows:
    """What MLflow's own store holds: runs, points of every curve, models, versions and aliases."""
    queries = {
        "runs": "select t.value, r.status, r.lifecycle_stage from runs r left join tags t on t.run_uuid = r.run_uuid and t.key = 'starloop.id'",
        "metrics": "select t.value, m.key, m.step, m.value from metrics m left join tags t on t.run_uuid = m.run_uuid and "
        "t.key = 'starloop.id' where m.key not like 'seconds%' and m.key <> 'wall_s'",
        "durations": "select t.value, m.key, m.step from metrics m left join tags t on t.run_uuid = m.run_uuid and "
        "t.key = 'starloop.id' where m.key like 'seconds%' or m.key = 'wall_s'",
        "params": "select t.value, p.key, p.value from params p left join tags t on t.run_uuid = p.run_uuid and t.key = 'starloop.id'",
        "versions": "select v.name, v.version, t.value from model_versions v left join model_version_tags t on t.name = v.name and "
        "t.version = v.version and t.key = 'starloop.checkpoint_id'",
        "models": "select name, status from logged_models",
        "aliases": "select name, alias, version from registered_model_aliases",
        "inputs": "select source_type, destination_type from inputs",
    }
    with closing(sqlite3.connect(f"file:{home / 'mlflow.db'}?mode=ro", uri=True)) as database:
        return {what: Counter(map(tuple, database.execute(query).fetchall())) for what, query in queries.items()}


def differences(found: Rows, wanted: Rows) -> list[str]:
    """A sentence for each table in which rows are lost, doubled or others."""
    sentences = [f"{table} is not there" for table in wanted.keys() - found.keys()]
    for table, rows in found.items():
        expected = wanted.get(table, Counter())
        if rows != expected:
            lost, more = expected - rows, rows - expected
            sentences.append(
                f"{table}: {lost.total()} rows lost, {more.total()} too many; the first {[*lost][:1]} and {[*more][:1]}"
            )
    return sentences


def faults_in(home: Path) -> list[str]:
    """What `Ledger.verify` finds, a step that was committed twice, a checkpoint that is not what it is called, half-written files."""
    ledger = Ledger(Home(home))
    try:
        found = ledger.verify()
        with ledger.writer() as connection:
            twice = connection.execute(
                "select payload->>'step_id', count(*) from event where kind = 'step_committed' group by 1 having count(*) > 1"
            ).fetchall()
            checkpoints = connection.execute("select checkpoint_id, weights_digest from checkpoint").fetchall()
    finally:
        ledger.close()
    found += [f"step {step_id} was committed {times} times" for step_id, times in twice]
    for checkpoint_id, weights in checkpoints:
        if weights_digest(home / "checkpoints" / checkpoint_id.hex) != weights.hex:
            found.append(f"checkpoint {checkpoint_id.hex} holds other weights")
    return found


def half_written(home: Path) -> list[str]:
    """Files under temporary names."""
    return [str(path.relative_to(home)) for path in home.rglob("*.tmp")]
