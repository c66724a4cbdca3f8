"""Rollback: whoever held an alias before gets it back, at once, without any gate. What was promoted wrongly is not waited for."""

import uuid
from dataclasses import replace

from flows.aliases import Registry
from flows.progress import Listener
from storage.errors import UserMistake
from storage.home import Home
from storage.ledger import Ledger
from storage.promotions import ROLLBACK, Alias, Promotion, aliases, history
from tasks.processes import Processes


def rollback(
    home: Home, told: Listener, alias_name: str, model_name: str | None = None, reason: str | None = None
) -> Promotion:
    """Put the previous holder of an alias back; again, the one before that. Returns what was done.

    Raises UserMistake where nobody held it before, and where it is not said which of several models is meant.
    """
    ledger = Ledger(home)
    processes = Processes(home.logs, preload=("tracking",))
    try:
        ledger.catch_up()
        registry = Registry(home, ledger, processes, told)
        with registry.alone():
            alias = _meant(registry, alias_name, model_name)
            registry.reconcile(alias.model_name)
            return registry.move(_fallen_back(registry, alias, reason))
    finally:
        processes.close()
        ledger.publish(force=True)
        ledger.close()


def _meant(registry: Registry, alias_name: str, model_name: str | None) -> Alias:
    """The alias that a person means."""
    known = [one for one in aliases(registry.rows) if one.destination == registry.to]
    found = [one for one in known if one.alias == alias_name and model_name in (None, one.model_name)]
    if not found and model_name is not None:  # one that only MLflow knows of, so far
        registry.reconcile(model_name)
        found = [one for one in aliases(registry.rows) if (one.alias, one.model_name) == (alias_name, model_name)]
    if not found:
        there = ", ".join(str(one) for one in known) or "none was ever promoted"
        wanted = f"{model_name}@{alias_name}" if model_name else alias_name
        raise UserMistake(f"no alias {wanted} to roll back; there are: {there}")
    if len(found) > 1:
        raise UserMistake(
            f"several models have a {alias_name}; name one of: {', '.join(one.model_name for one in found)}"
        )
    return found[0]


def _fallen_back(registry: Registry, alias: Alias, reason: str | None) -> Promotion:
    """The decision that gives the alias to who held it before."""
    before = history(registry.rows, alias)
    holders = [one for one in before[:-1] if one.version is not None]
    if not before or not holders:
        raise UserMistake(f"nobody held {alias} before, so there is nothing to roll back to")
    now, back = before[-1], holders[-1]
    version = back.version
    if version not in registry.standing(alias.model_name).versions:
        if back.checkpoint_id is None:
            raise UserMistake(
                f"version {version}, which held {alias} before, is not in MLflow any more, and starloop did not make it"
            )
        version = registry.register(alias.model_name, back.checkpoint_id)
    return replace(
        back, promotion_id=uuid.uuid4().hex, action=ROLLBACK, version=version, previous_checkpoint_id=now.checkpoint_id,
        previous_version=now.version, judged_in=None, forced=False, reason=reason, looks=None, gates=[],
    )  # fmt: skip
