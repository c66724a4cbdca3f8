"""Adoption: old results stand for new code, because somebody says that the change does not matter, and why."""

from dataclasses import dataclass

from storage.errors import UserMistake
from storage.history import Done, History
from storage.home import Home
from storage.ledger import Ledger
from tasks.caching import adopt_record
from tasks.catalogue import task_of

ADOPTED = "adopted"


@dataclass(frozen=True, slots=True)
class Adopted:
    """One cell's result under the key that it has today."""

    iteration: int
    step: str
    cell: str
    old_key: str
    new_key: str


def adopt(home: Home, run_id: str, step: str, reason: str, iteration: int | None) -> list[Adopted]:
    """Accept a step's results as what today's code would give; an event says so. Cells whose key is the same are left.

    Raises UserMistake for a reason that says nothing, and when the run computed no such step.
    """
    if len(reason.strip()) < 3:
        raise UserMistake("an adoption needs a reason; say in --reason why the change does not matter")
    cells = [
        done
        for done in History.of(home).cells
        if done.run_id == run_id and done.name == step and iteration in (None, done.iteration)
    ]
    if not cells:
        raise UserMistake(f"this run computed no step {step!r}; `starloop status` and v_step show what it did")
    changed = [(done, parts) for done in cells if (parts := _today(done)) != done.key_parts]
    ledger = Ledger(home)
    try:
        return [_adopted(home, ledger, done, parts, reason) for done, parts in changed]
    finally:
        ledger.publish(force=True)
        ledger.close()


def _today(done: Done) -> dict[str, object]:
    return task_of(done.task).renewed(done.key_parts)


def _adopted(home: Home, ledger: Ledger, done: Done, parts: dict[str, object], reason: str) -> Adopted:
    new_key = task_of(done.task).key_of(parts)
    made = Adopted(done.iteration, done.name, done.cell, done.cache_key, new_key)
    ledger.record(
        ADOPTED,
        {"run_id": done.run_id, "iteration": done.iteration, "step": done.name, "cell": done.cell, "reason": reason,
         "old_key": done.cache_key, "new_key": new_key},
    )  # fmt: skip
    adopt_record(home, done.cache_key, new_key, parts)
    return made
