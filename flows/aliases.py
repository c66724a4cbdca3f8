"""Ledger and registry kept in step: an alias moves between an intention and its completion, and every start looks whether they agree.

    registry = Registry(home, ledger, processes, told)
    with registry.alone():                               # one mover at a time in a home
        registry.reconcile("addition-star")
        registry.move(promotion)                         # intended (event), the alias (MLflow), done (event)

A process that dies between the writes leaves an intention; the next start completes it, or gives it up where the alias was moved by
hand meanwhile. An alias that stands elsewhere than the ledger says was moved by hand: that becomes an event too. Of a server
that is not the home's own store this is looked at by `promote` and `rollback`, not by every run.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from flows.progress import Listener
from storage.database import held as lock_held
from storage.errors import StarloopError, StorageBusy
from storage.faults import reached
from storage.home import Home
from storage.identity import show
from storage.ledger import Ledger
from storage.promotions import (
    ABANDONED,
    BY_HAND,
    DONE,
    INTENDED,
    NOTICED,
    PROMOTE,
    RESTORE,
    Alias,
    Promotion,
    aliases,
    holder,
    record,
    recorded,
    unfinished,
)
from tasks.processes import Processes
from tasks.registered import Held, held, version_of
from tasks.tracking_server import HOME, destination

CANDIDATE = "candidate"
"""Set by every registration; no decision, and none of the ledger's business."""

LOCK_WAIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Standing:
    """A model in MLflow as it is now: version to checkpoint (None: not ours), alias to version, and the versions once promoted."""

    versions: dict[int, str | None]
    aliases: dict[str, int]
    promoted: frozenset[int]


class Registry:
    """The registered models of one MLflow, and the ledger's word on them."""

    def __init__(self, home: Home, ledger: Ledger, processes: Processes, told: Listener) -> None:
        self.home = home
        self.to = destination(home.root)
        self._ledger = ledger
        self._processes = processes
        self._told = told

    @contextmanager
    def alone(self, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
        """With the home's other movers kept out. Raises StorageBusy when one takes longer than that."""
        with lock_held(self.home.root / "promotion.lock", wait_s, "the registry"):
            yield

    @property
    def rows(self) -> list[Promotion]:
        """Everything that the ledger knows, in order."""
        return recorded(self._ledger)

    def standing(self, model_name: str) -> Standing:
        """What MLflow has. Raises ServerFault where it does not answer."""
        found = self._ask("versions", model_name)
        versions = {int(version): checkpoint for version, checkpoint in found["versions"].items()}
        return Standing(versions, dict(found["aliases"]), frozenset(found["promoted"]))

    def register(self, model_name: str, checkpoint_id: str) -> int:
        """The version that a checkpoint is, told to MLflow (again) if need be."""
        made = self._ask("register", model_name, checkpoint_id)
        if made["again"]:
            self._told.said(
                f"{show('ckp', checkpoint_id)[:12]} was no version of {model_name} any more, and is version {made['version']} now"
            )
        return int(made["version"])

    def reproduce(self, model_name: str, version: int, asked: dict[str, Any]) -> dict[str, Any]:
        """What a version says, loaded from MLflow: see `tasks.tracking_aliases.reproduce`."""
        return self._ask("reproduce", model_name, version, asked)

    def files(self, model_name: str, version: int) -> dict[str, Any]:
        """Where a version's files are: see `tasks.tracking_aliases.files`."""
        return self._ask("files", model_name, version)

    def move(self, promotion: Promotion) -> Promotion:
        """Carry a decision out: written down as intended, done in MLflow, written down as done."""
        reached("promotion-before-intention")
        intended = record(self._ledger, promotion, INTENDED)
        reached("promotion-after-intention")
        return self._carry_out(intended)

    def refuse(self, promotion: Promotion, state: str) -> Promotion:
        """Write down a decision that moves nothing."""
        return record(self._ledger, promotion, state)

    def reconcile(self, model_name: str | None = None) -> None:
        """Make ledger and registry agree: complete what was begun, write down what was done by hand.

        With a model's name MLflow itself is asked about it; without, the home's own store is read as it lies.
        """
        for pending in unfinished(self.rows):
            self._complete(pending)
        rows = self.rows
        known = [one for one in aliases(rows) if one.destination == self.to]
        if model_name is not None:
            standing = self.standing(model_name)
            there = {
                (model_name, alias): Held(version, standing.versions.get(version), version in standing.promoted)
                for alias, version in standing.aliases.items()
            }
            known = [one for one in known if one.model_name == model_name]
        else:
            there = held(self.home) if self.to == HOME else None
            if there is None:
                return
        found = [Alias(self.to, name, alias) for name, alias in there if alias != CANDIDATE]
        for alias in dict.fromkeys([*known, *found]):
            self._compare(holder(rows, alias), there.get((alias.model_name, alias.alias)), alias)

    def _compare(self, known: Promotion | None, now: Held | None, alias: Alias) -> None:
        """One alias: what the ledger says and what MLflow says."""
        if (known.version if known else None) == (now.version if now else None):
            return
        if now is None and known is not None and known.checkpoint_id is not None and self._made_anew(alias.model_name):
            again = version_of(self.home, alias.model_name, known.checkpoint_id)
            if again is not None:
                self._told.said(f"{alias} is put back on version {again.version}: MLflow's store was made anew")
                self.move(
                    replace(
                        known,
                        promotion_id=uuid.uuid4().hex,
                        action=RESTORE,
                        version=again.version,
                        gates=[],
                        looks=None,
                    )
                )
                return
        noticed = Promotion(
            promotion_id=uuid.uuid4().hex, state=NOTICED, action=BY_HAND, model_name=alias.model_name, alias=alias.alias,
            destination=alias.destination, checkpoint_id=now.checkpoint_id if now else None, version=now.version if now else None,
            previous_checkpoint_id=known.checkpoint_id if known else None, previous_version=known.version if known else None,
            run_id=None, judged_in=None, forced=False, reason="moved in MLflow, not by starloop", looks=None, gates=[],
        )  # fmt: skip
        record(self._ledger, noticed, NOTICED)
        said = f"version {now.version}" if now else "nobody"
        before = f"version {known.version}" if known and known.version else "nobody"
        self._told.said(
            f"{alias} was moved by hand, from {before} to {said}; it is written down, and `starloop rollback` undoes it"
        )

    def _made_anew(self, model_name: str) -> bool:
        """Whether the home's own store knows nothing of what was ever promoted: it was deleted, and told everything but the aliases."""
        done = {
            row.checkpoint_id
            for row in self.rows
            if (row.state, row.model_name, row.destination) == (DONE, model_name, HOME)
        }
        there = [version_of(self.home, model_name, one) for one in done if one is not None] if self.to == HOME else []
        return any(there) and not any(one.promoted for one in there if one is not None)

    def _complete(self, pending: Promotion) -> None:
        """An intention of a process that is gone: carried out, or given up with its reason."""
        if pending.destination != self.to:
            self._told.said(
                f"a promotion waits for MLflow at {pending.destination}; set MLFLOW_TRACKING_URI to complete it"
            )
            return
        later = next(
            (row for row in self.rows if row.moves == pending.moves and row.event_seq > pending.event_seq), None
        )
        standing = self.standing(pending.model_name)
        now = standing.aliases.get(pending.alias)
        if later is not None:
            why = "another decision came after it"
        elif now == pending.version:
            why = None
        elif now != pending.previous_version:
            why = f"the alias was moved to {f'version {now}' if now else 'nobody'} by hand meanwhile"
        elif pending.version not in standing.versions:
            why = f"version {pending.version} is not in MLflow any more"
        else:
            why = None
        if why is not None:
            record(self._ledger, replace(pending, reason=why), ABANDONED)
            self._told.said(
                f"{pending.action} of {pending.moves} to version {pending.version} was begun and is given up: {why}"
            )
            return
        self._carry_out(pending)
        self._told.said(
            f"{pending.action} of {pending.moves} to version {pending.version}, which was begun before, is completed"
        )

    def _carry_out(self, intended: Promotion) -> Promotion:
        self._ask("move", intended.model_name, intended.alias, intended.version, _tags(intended))
        reached("promotion-after-alias")
        done = record(self._ledger, intended, DONE)
        reached("promotion-after-done")
        return done

    def _ask(self, what: str, *arguments: Any) -> dict[str, Any]:
        log = self.home.logs / "mlflow.log"
        return self._processes.call(
            f"tasks.tracking_aliases:{what}", str(self.home.root), *arguments, log=log, threads=0
        )


def reconcile(home: Home, ledger: Ledger, told: Listener) -> None:
    """What every start does: milliseconds where ledger and registry agree.

    Nothing here may keep a run from its work: where MLflow does not answer, or somebody is moving an alias, it is left to the next start.
    """
    processes = Processes(home.logs, preload=("tracking",))
    try:
        registry = Registry(home, ledger, processes, told)
        with registry.alone(wait_s=0.0):
            registry.reconcile()
    except StorageBusy:
        pass
    except StarloopError as fault:
        told.said(f"ledger and MLflow were not compared: {fault}")
    finally:
        processes.close()


def _tags(promotion: Promotion) -> dict[str, str]:
    """What a version carries in MLflow of the evidence for it."""
    tags = {
        "starloop.promotion_id": show("prm", promotion.promotion_id),
        "starloop.promotion": promotion.action,
        "starloop.promotion.forced": str(promotion.forced).lower(),
    }
    if promotion.action != PROMOTE:
        return tags
    if promotion.reason:
        tags["starloop.promotion.reason"] = promotion.reason
    if promotion.looks is not None:
        tags["starloop.promotion.test_looks"] = str(promotion.looks)
    if promotion.judged_in:
        tags["starloop.promotion.run"] = show("run", promotion.judged_in)
    for gate in promotion.gates:
        passed = "passed" if gate["passed"] else "refused"
        tags[f"starloop.gate.{gate['gate']}"] = f"{passed}: {gate['said']}"
    return tags
