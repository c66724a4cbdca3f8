"""A user's file taken in: one committed step of a run of method `import`, named by the file's content.

The same file, source and settings are the same run: taken in again, it adds nothing.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from storage.errors import UserMistake
from storage.identity import content_id
from storage.intake import Intake, Taken, records
from storage.ledger import Ledger, StepCommit
from storage.manifest import Accounting, Manifest, Output
from storage.records import Record
from storage.shards import ROWS_PER_SHARD, Shards
from storage.tombstones import Tombstones

METHOD = "import"


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import came to. `again`: it had been done before, and nothing was added."""

    run_id: str
    taken: Taken | None
    again: bool = False


def take_in(ledger: Ledger, intake: Intake, *, name: str | None = None, skip_bad: bool = False) -> Imported:
    """Takes a file in, whole or not at all; its rows are checked before the first is written."""
    settings = {
        "file": intake.path.name,
        "digest": _digest(intake),
        "as": intake.kind,
        "source": intake.source,
        "licence": intake.licence,
        "columns": dict(intake.columns),
        "skip_bad": skip_bad,
    }
    arguments = {key: value for key, value in settings.items() if key != "file"}
    run_id = content_id("run", method=METHOD, settings=arguments)
    with ledger.writer() as connection:
        query = "select count(*) from run join step using (run_id) where run_id = ? and state = 'completed'"
        if connection.execute(query, [run_id]).fetchall()[0][0]:
            return Imported(run_id, None, again=True)
    tombstones = Tombstones.of(ledger.home)
    checked = Taken()
    for _ in records(intake, tombstones, checked, skip_bad=skip_bad):
        pass
    if not checked.ok:
        raise UserMistake(f"{intake.path} has no row that could be taken in; {checked.asked} were looked at")
    taken = Taken()
    manifests = _written(ledger.shards, records(intake, tombstones, taken, skip_bad=skip_bad))
    facts = {**settings, "rejected": dict(taken.rejected)}
    ledger.start_run(name or intake.source, METHOD, None, settings, run_id=run_id)
    key_parts = {"task": METHOD, "arguments": arguments}
    accounting = Accounting(taken.asked, taken.ok, rejected=taken.rejected.total())
    ledger.commit_steps([
        StepCommit(run_id, 0, METHOD, METHOD, f"{METHOD}-{run_id}", key_parts, False, None, 0.0, 0.0, {},
                   Output(manifests, accounting, facts)),
    ])  # fmt: skip
    ledger.finish_run(run_id, "completed", {"rows": taken.ok})
    ledger.publish(force=True)
    return Imported(run_id, taken)


def _written(shards: Shards, rows: Iterator[Record]) -> dict[str, Manifest]:
    """The records by table, as many in memory as make a shard or two of each."""
    manifests: dict[str, Manifest] = {}
    while batch := list(islice(rows, ROWS_PER_SHARD)):
        by_table: dict[str, list[Record]] = {}
        for record in batch:
            by_table.setdefault(record.TABLE, []).append(record)
        for table, some in by_table.items():
            manifests[table] = manifests.get(table, Manifest(table, (), 0)) + shards.write(table, some)
    return manifests


def _digest(intake: Intake) -> str:
    try:
        with intake.path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserMistake(f"{intake.path} cannot be read ({reason}); give a JSONL or Parquet file") from error
