"""Promotion: an alias in MLflow moves to a checkpoint that is shown to be better, and the ledger has the evidence.

  1. ledger and registry are made to agree;
  2. the candidate and who holds the alias answer the same test problems, and what else is to be known is gathered;
  3. every gate rules; one that is not passed refuses, unless it is forced with a reason;
  4. intended (event) → the alias (MLflow) → done (event).

Where nobody holds the alias yet, the candidate has to beat the base of its own run.
"""

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from prefect import flow
from prefect.exceptions import TerminationSignal
from pydantic import BaseModel, ConfigDict, Field

from flows.aliases import CANDIDATE, Registry
from flows.config import LoopConfig
from flows.evidence import Candidate, Opponent, candidate_of, gather
from flows.gates import Evidence, Limits, Ruling, refusal, rule
from flows.loop import CELLS_SIDE_BY_SIDE, Loop, flow_run_id
from flows.machine import usable_cores, workers
from flows.meant import base_of, made_by
from flows.progress import Listener
from flows.tracker import Tracker, registered_name
from flows.watched import watching
from storage.errors import PromotionRefused, StarloopError, UserMistake
from storage.home import Home
from storage.identity import content_id, show
from storage.ledger import Ledger
from storage.lineage import Lineage
from storage.occupancy import at_work
from storage.promotions import PROMOTE, REFUSED, Alias, Promotion, aliases, holder
from tasks.processes import Processes
from tasks.runtime import Runtime

METHOD = "promote"
CHAMPION = "champion"

Share = Annotated[float, Field(ge=-1, le=1)]


class PromoteRequest(BaseModel):
    """Which checkpoint is to get which alias, and where the gates stand."""

    model_config = ConfigDict(extra="forbid")

    what: str = Field(
        title="run or checkpoint",
        description="run_… (the checkpoint it tested last), ckp_…, the beginning of one, or latest: the run completed last",
    )
    to: str = Field(default=CHAMPION, title="alias", description="the alias that is to move, e.g. champion")
    new_alias: bool = Field(
        default=False, title="new alias", description="the alias may be one that nothing has had so far"
    )
    sets: tuple[str, ...] = Field(
        default=(), title="sets", description="further problem sets that must not get worse, e.g. gsm8k"
    )
    alpha: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.05, title="alpha", description="largest p-value of the paired test"
    )
    min_effect: Share = Field(
        default=0.01, title="minimum effect", description="least gain in accuracy, as a share: 0.01 is a point"
    )
    max_drop: Share = Field(
        default=0.02, title="largest drop", description="how much worse any named set may get, as a share"
    )
    force: bool = Field(
        default=False, title="force", description="promote though a gate refuses; needs a reason, which is recorded"
    )
    reason: str | None = Field(default=None, title="reason", description="why it is forced")
    home: str | None = Field(
        default=None, title="home", description="folder of the ledger; empty: STARLOOP_HOME or ./.starloop"
    )

    @property
    def limits(self) -> Limits:
        return Limits(self.alpha, self.min_effect, self.max_drop)

    def check(self) -> None:
        """Raises UserMistake for what cannot be asked."""
        if self.force and not (self.reason or "").strip():
            raise UserMistake('a forced promotion needs its reason; say it with --reason "…"')
        if self.to == CANDIDATE:
            raise UserMistake(
                "candidate is what every run calls its newest checkpoint; promote to champion, or to an alias of your own"
            )
        if not re.fullmatch(r"[\w-]+", self.to) or self.to.lower() == "latest" or re.fullmatch(r"v\d+", self.to):
            raise UserMistake(
                f"{self.to!r} cannot be an alias in MLflow; use letters, digits, '_' and '-', and neither latest nor v1"
            )


def run_name() -> str:
    """What a promotion is called in the Prefect UI."""
    from prefect.runtime import flow_run

    request = flow_run.parameters.get("request")
    given = request if isinstance(request, PromoteRequest) else PromoteRequest.model_validate(request or {})
    return f"promote {given.what[:12]} to {given.to}{' (forced)' if given.force else ''}"


@flow(name="promote", flow_run_name=run_name, task_runner=CELLS_SIDE_BY_SIDE)
def promote(request: PromoteRequest) -> str:
    """Give an alias to a checkpoint if it passes every gate; returns the promotion's id. Raises PromotionRefused with the figures.

    Args:
        request: which checkpoint, which alias, and where the gates stand
    """
    request.check()
    home = Home.existing(Path(request.home) if request.home else None)
    ledger = Ledger(home)
    processes = Processes(home.logs, preload=("engine", "tracking"))
    try:
        with at_work(home), watching(home) as told:
            ledger.catch_up()
            with Lineage.open(home, fresh=True) as lineage:
                candidate = candidate_of(lineage, request.what)
            model_name = registered_name(candidate.run.method, candidate.config)
            registry = Registry(home, ledger, processes, told)
            return _decide(request, registry, ledger, processes, told, candidate, model_name)
    finally:
        processes.close()
        ledger.publish(force=True)
        ledger.close()


def _decide(
    request: PromoteRequest, registry: Registry, ledger: Ledger, processes: Processes, told: Listener, candidate: Candidate, model_name: str
) -> str:  # fmt: skip
    version = registry.register(model_name, candidate.checkpoint_id)
    alias = Alias(registry.to, model_name, request.to)
    with registry.alone():
        registry.reconcile(model_name)
        now = holder(registry.rows, alias)
    _check_alias(request, registry, alias)
    if now is not None and now.version == version:
        told.said(f"version {version} is {alias} already")
        return now.promotion_id
    opponent = _opponent(registry.home, now, candidate)
    with _judging(registry, ledger, processes, told, candidate, opponent, request) as loop:
        evidence = gather(loop, registry, candidate, opponent, request.sets, model_name, version)
        rulings = rule(evidence, request.limits)
        loop.outcome |= _outcome(evidence, rulings)
    _show(rulings, alias)
    promotion = Promotion(
        promotion_id=uuid.uuid4().hex, state="", action=PROMOTE, model_name=model_name, alias=request.to, destination=registry.to,
        checkpoint_id=candidate.checkpoint_id, version=version, previous_checkpoint_id=now.checkpoint_id if now else None,
        previous_version=now.version if now else None, run_id=candidate.run.run_id, judged_in=loop.run_id,
        forced=request.force and bool(refusal(rulings)), reason=request.reason, looks=evidence.looks.evaluations,
        gates=[one.plain() for one in rulings],
    )  # fmt: skip
    if (why := refusal(rulings)) and not request.force:
        registry.refuse(promotion, REFUSED)
        raise PromotionRefused(f"{show('ckp', candidate.checkpoint_id)[:12]} is not promoted to {alias}: {why}")
    with registry.alone():
        registry.reconcile(model_name)
        if holder(registry.rows, alias) != now:
            raise UserMistake(
                f"{alias} was moved while its evidence was gathered; promote again, which compares with who holds it now"
            )
        registry.move(promotion)
    return promotion.promotion_id


def _show(rulings: list[Ruling], alias: Alias) -> None:
    """The rulings as a table in the Prefect UI."""
    from prefect.artifacts import create_table_artifact

    rows = [{"gate": one.gate, "": "passed" if one.passed else "refused", "figures": one.said} for one in rulings]
    create_table_artifact(key="promotion-gates", table=rows, description=f"What {alias} has to pass")


def _check_alias(request: PromoteRequest, registry: Registry, alias: Alias) -> None:
    """A misspelt alias is not made by accident."""
    known = {one.alias for one in aliases(registry.rows) if one.model_name == alias.model_name} | {CHAMPION}
    if alias.alias not in known and not request.new_alias:
        raise UserMistake(
            f"{alias.model_name} has no alias {alias.alias!r}; it has: {', '.join(sorted(known))} (--new-alias makes another)"
        )


def _opponent(home: Home, now: Promotion | None, candidate: Candidate) -> Opponent | str:
    """Who is to be beaten, or why nobody can be."""
    if now is None or now.version is None:
        if candidate.checkpoint_id == candidate.base_id:
            return "it is the base of its run, nobody holds the alias, and there is nothing to compare it with"
        return Opponent(candidate.base_id, candidate.base_id, None)
    if now.checkpoint_id is None:
        return f"version {now.version} holds the alias, which starloop did not make, so nothing can be compared with it"
    if not (home.checkpoints / now.checkpoint_id).is_dir():
        return f"version {now.version} holds the alias, and its checkpoint {show('ckp', now.checkpoint_id)[:12]} is not in this home any more"
    with Lineage.open(home, fresh=True) as lineage:
        base = base_of(lineage, made_by(lineage, now.checkpoint_id), now.checkpoint_id)
    return Opponent(now.checkpoint_id, base, now.version)


@contextmanager
def _judging(
    registry: Registry, ledger: Ledger, processes: Processes, told: Listener, candidate: Candidate, opponent: Opponent | str,
    request: PromoteRequest,
) -> Iterator[Loop]:  # fmt: skip
    """The run that holds the evidence, from its first event to its last."""
    config: LoopConfig = candidate.config
    against = None if isinstance(opponent, str) else opponent.checkpoint_id
    settings = config.model_dump(mode="json") | {
        "promote": request.model_dump(mode="json", exclude={"home", "force", "reason"})
    }
    identity = content_id("run", method=METHOD, candidate=candidate.checkpoint_id, against=against, settings=settings)
    name = f"{show('ckp', candidate.checkpoint_id)[:12]} to {request.to}"
    begun = time.monotonic()
    runtime = Runtime(registry.home, processes, workers=workers(), threads=usable_cores(), progress=told)
    run_id = ledger.start_run(name, METHOD, None, settings, run_id=identity, prefect_flow_run_id=flow_run_id())
    loop = Loop(METHOD, config, runtime, ledger, told, run_id, Tracker(runtime, run_id, "", candidates=False), [])
    state, why = "failed", ""
    try:
        yield loop
        loop.settle()
        state = "completed"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | TerminationSignal):
            runtime.cancel()
        state = "cancelled" if runtime.cancelled.is_set() else "failed"
        why = str(error) if isinstance(error, StarloopError) else f"{type(error).__name__}: {error}"
        raise
    finally:
        loop.close_ledger()
        runtime.close()
        ledger.finish_run(
            run_id, state=state, facts={"why": why, **loop.outcome, "wall_s": round(time.monotonic() - begun, 3)}
        )


def _outcome(evidence: Evidence, rulings: list[Ruling]) -> dict[str, object]:
    """What the run's facts say of its evidence."""
    return {
        "promotion": {
            "test": asdict(evidence.test) if evidence.test else None,
            "sets": {name: asdict(pair) for name, pair in evidence.sets.items()},
            "passed": not refusal(rulings),
            "gates": [one.plain() for one in rulings],
        }
    }
