"""What MLflow needs of a home's checkpoints: those under an alias, and the bases of registered adapters.

    >>> registered(home)
    {'9b1c…': 'addition-star@champion is version 3 in MLflow', '03bd…': 'base of the adapter that is addition-star version 5'}

The home's own store is read as it lies. Of another server it is not known what became of a version, so all stay. A version of
full weights without an alias needs nothing: MLflow has files of its own.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from storage.errors import StorageFault
from storage.home import Home
from tasks.outbox import Outbox
from tasks.tracking_messages import Registration
from tasks.tracking_server import HOME


def registered(home: Home) -> dict[str, str]:
    """Checkpoint id to why it is needed."""
    outbox = Outbox(home.root)
    aliases = _aliases(home)
    needed: dict[str, str] = {}
    for to, made, message in _registrations(outbox):
        what = f"{made['model_name']} version {made['version']} in MLflow"
        alias = aliases.get((made["model_name"], int(made["version"])))
        if message is not None and message.base_folder is not None:
            needed[message.base_folder.name] = f"base of the adapter that is {what}"
        if to != HOME:
            needed[made["checkpoint_id"]] = f"{what} at {to}"
        elif alias is not None:
            needed[made["checkpoint_id"]] = f"{what}, under the alias {alias}"
    waiting = (outbox.read(name) for name in outbox.names() if name not in outbox.delivered_names())
    for message in waiting:
        if isinstance(message, Registration):
            needed[message.checkpoint_id] = "it waits in the outbox to be registered in MLflow"
    return needed


def _registrations(outbox: Outbox) -> Iterator[tuple[str, dict[str, Any], Registration | None]]:
    messages = set(outbox.names())
    for name in sorted(outbox.delivered_names()):
        if name.split("-")[1] == Registration.KIND:
            record = json.loads((outbox.delivered / f"{name}.json").read_bytes())
            message = outbox.read(name) if name in messages else None
            yield record["to"], record["results"], message if isinstance(message, Registration) else None


def _aliases(home: Home) -> dict[tuple[str, int], str]:
    """Model name and version to alias, in the home's own store."""
    if not home.mlflow_db.is_file():
        return {}
    rows = _rows(home, "select name, version, alias from registered_model_aliases")
    return {(name, int(version)): alias for name, version, alias in rows}


def _rows(home: Home, query: str, given: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
    try:
        with closing(sqlite3.connect(home.mlflow_db, timeout=30)) as database:
            return database.execute(query, given).fetchall()
    except sqlite3.Error as error:
        raise StorageFault(
            f"{home.mlflow_db} cannot be read ({error}), so it is not known which checkpoints it needs; mend or remove it"
        ) from error


@dataclass(frozen=True, slots=True)
class Held:
    """A version under an alias: whose checkpoint it is (None: starloop did not make it), and whether a promotion gave it one before."""

    version: int
    checkpoint_id: str | None
    promoted: bool


def held(home: Home) -> dict[tuple[str, str], Held] | None:
    """Who holds which alias in the home's own store, by model name and alias.

    None where that cannot be said: the store is not there, or has not been told everything yet.
    """
    outbox = Outbox(home.root)
    if not home.mlflow_db.is_file() or outbox.waiting(HOME):
        return None
    query = (
        "select a.name, a.alias, a.version, "
        "(select value from model_version_tags t where t.name = a.name and t.version = a.version and t.key = 'starloop.checkpoint_id'), "
        "exists (select 1 from model_version_tags t where t.name = a.name and t.version = a.version and t.key = 'starloop.promotion_id') "
        "from registered_model_aliases a"
    )
    return {
        (name, alias): Held(int(version), checkpoint, bool(promoted))
        for name, alias, version, checkpoint, promoted in _rows(home, query)
    }


def version_of(home: Home, model_name: str, checkpoint_id: str) -> Held | None:
    """The version that a checkpoint is in the home's own store."""
    query = (
        "select t.version, exists (select 1 from model_version_tags p where p.name = t.name and p.version = t.version and "
        "p.key = 'starloop.promotion_id') from model_version_tags t join model_versions v on v.name = t.name and v.version = t.version "
        "where t.key = 'starloop.checkpoint_id' and t.name = ? and t.value = ? and v.current_stage <> 'Deleted_Internal' "
        "order by t.version desc"
    )
    found = _rows(home, query, (model_name, checkpoint_id))
    return Held(int(found[0][0]), checkpoint_id, bool(found[0][1])) if found else None
