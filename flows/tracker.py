"""A loop's figures and checkpoints on their way to MLflow: put in the outbox by the flow, delivered by a child in the
background, so that a run never waits for MLflow and loses nothing when it is down.
"""

import json
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.config import LoopConfig
from storage.errors import StarloopError
from storage.home import atomic_write
from storage.identity import content_id, show
from tasks import outbox
from tasks import tracking_messages as messages
from tasks.machine_load import MachineLoad, wanted
from tasks.runtime import Runtime

DELIVERY_TIMEOUT_S = 120.0
"""How long the end of a run waits for the last delivery; what is not delivered then goes out with the next run."""

CURVES = (
    "held_out_accuracy", "ci_low", "ci_high", "train_accuracy", "attempts", "kept", "rationalized_kept", "undecided",
    "train_rows", "original_share", "tokens", "wall_s", "refined_accuracy", "majority_accuracy", "refinement_gap",
    "refinement_gap_at_equal_tokens", "recovery", "agreement", "pairs", "preference_margin", "ranked_pass_at_1", "ranked_majority", "ranked_best",
    "ranked_pass_at_k", "temperature", "balance_score", "proposed_admitted",
)  # fmt: skip
"""Metrics with the same name in every method: of every loop, of methods that refine or check, and of the steps' options."""


class Tracker:
    """What one loop tells MLflow."""

    def __init__(self, runtime: Runtime, run_id: str, model_name: str, *, candidates: bool = True) -> None:
        """`candidates`: whether what the loop trains may be called a candidate; a control's may not."""
        self._runtime = runtime
        self._home = runtime.home.root
        self._run_id = run_id
        self._model_name = model_name
        self._candidates = candidates
        self._deliveries: list[threading.Thread] = []
        self._began = datetime.now(UTC)
        self._tokens = 0
        self._load = MachineLoad() if wanted() else None

    def loop(
        self,
        name: str,
        method: str,
        preset: str | None,
        config: dict[str, Any],
        prefect_run: str | None = None,
        correctness: str = "",
    ) -> None:
        """The parent run; `prefect_run` is the flow run that it is carried out in, `correctness` what is said where nobody checks it."""
        if self._load is not None:
            self._load.start()
        run = show("run", self._run_id)
        tags = {"starloop.run": run, "starloop.home": str(self._home), **_prefect(prefect_run)}
        said = ""
        if correctness:
            said, tags["starloop.correctness"] = f"**{correctness}**\n\n", correctness
        link = f"[Prefect run]({tags['prefect.flow_run_url']})\n\n" if "prefect.flow_run_url" in tags else ""
        tags["mlflow.note.content"] = (
            f"{said}{link}`starloop status {run[:12]}`: its iterations. `starloop report {run[:12]}`: one page about it. "
            f"`starloop promote {run[:12]}`: make its checkpoint the champion, if it is shown to be better."
        )
        outbox.put(
            self._home,
            messages.Loop(
                self._run_id, name, "starloop", method, preset or "", self._began, params=flat(config), tags=tags
            ),
        )

    def iteration(self, summary: dict[str, Any], checkpoint_id: str, kind: str, base_checkpoint_id: str | None) -> None:
        """A child run with its metrics, and its checkpoint as a version of the model: the candidate, unless it is the base."""
        now, number = datetime.now(UTC), int(summary["iteration"])
        iteration_id = content_id("iteration", run=self._run_id, iteration=number)
        metrics: dict[str, float | None] = {name: summary[name] for name in CURVES if summary.get(name) is not None}
        metrics |= {f"seconds_{title.replace(' ', '_')}": seconds for title, seconds in summary["seconds"].items()}
        metrics |= {f"accuracy_{name.replace(' ', '_')}": value for name, value in summary["strata"].items()}
        metrics |= health_metrics(summary.get("health", {}))
        if summary["kept"]:
            metrics["rationalized_share"] = summary["rationalized_kept"] / summary["kept"]
        self._tokens += int(summary["tokens"])
        metrics["tokens_so_far"] = float(self._tokens)
        if self._load is not None:
            metrics |= self._load.since_last()
        if summary["attempts"]:
            # Of this iteration's own attempts: what is kept may come from earlier ones, too.
            right = sum(summary.get(name, 0) for name in ("correct", "rationalized_correct", "refined_correct"))
            metrics["yield"] = right / summary["attempts"]
        used = ()
        if mix_id := summary.get("mix_id"):
            used = (messages.DatasetUse(f"iteration {number}", str(mix_id), int(summary["train_rows"])),)
        tags = {"starloop.run": show("run", self._run_id), "starloop.checkpoint": show("ckp", checkpoint_id)}
        if mix_id:
            tags["starloop.mix"] = show("mix", str(mix_id))
        told = messages.Iteration(
            self._run_id, iteration_id, number, now, self._began, metrics=metrics, datasets=used, tags=tags
        )
        outbox.put(self._home, told)
        evidence = {name: summary[name] for name in ("held_out_accuracy", "ci_low", "ci_high", "n")}
        outbox.put(
            self._home,
            messages.Registration(
                self._run_id,
                iteration_id,
                number,
                checkpoint_id,
                self._runtime.home.checkpoints / checkpoint_id,
                self._model_name,
                now,
                self._began,
                alias="candidate" if number > 0 and self._candidates else None,
                evidence=evidence,
                kind=kind,
                base_folder=self._runtime.home.checkpoints / base_checkpoint_id if base_checkpoint_id else None,
            ),
        )
        self._deliver()

    def contender(
        self, number: int, name: str, run_id: str, params: dict[str, object], metrics: dict[str, float | None]
    ) -> None:
        """One loop of a comparison, as a child of the comparison's run; the loop has a run of its own beside."""
        child, now = content_id("contender", comparison=self._run_id, run=run_id), datetime.now(UTC)
        tags = {"mlflow.runName": name, "starloop.run": show("run", run_id)}
        outbox.put(
            self._home,
            messages.Iteration(
                self._run_id, child, number, now, self._began, params=params, metrics=metrics, tags=tags
            ),
        )

    def finish(
        self, state: str, outcome: dict[str, Any], iteration: int, further: dict[str, float | None] | None = None
    ) -> list[str]:
        """The end of the parent run, with `further` metrics; waits for the delivery, and returns what kept messages in the outbox.

        A run that was cancelled waits for nothing: what is left goes out with the next run.
        """
        if self._load is not None:
            self._load.stop()
        metrics = {f"test_{name}": outcome[name] for name in ("base_accuracy", "final_accuracy") if name in outcome}
        metrics |= further or {}
        outbox.put(self._home, messages.Finish(self._run_id, state, datetime.now(UTC), iteration, metrics))
        if self._runtime.cancelled.is_set():
            return []
        self._deliver()
        deadline = time.monotonic() + DELIVERY_TIMEOUT_S
        for delivery in self._deliveries:
            delivery.join(max(0.0, deadline - time.monotonic()))
        return self._warnings()

    def _deliver(self) -> None:
        if outbox.waits(self._home):
            thread = threading.Thread(target=self._call, name="mlflow delivery", daemon=True)
            thread.start()
            self._deliveries.append(thread)

    def _call(self) -> None:
        spec = self._home / "outbox" / "delivery.json"
        atomic_write(spec, json.dumps({"home": str(self._home), "result": str(self._result)}).encode())
        try:
            self._runtime.processes.call(
                "tasks.tracking:run", str(spec), log=self._runtime.home.logs / "mlflow.log", threads=1
            )
        except StarloopError as fault:
            self._result.write_text(json.dumps({"warnings": [str(fault)]}), encoding="utf-8")

    @property
    def _result(self) -> Path:
        return self._home / "outbox" / "delivered.json"

    def _warnings(self) -> list[str]:
        try:
            return list(json.loads(self._result.read_text(encoding="utf-8"))["warnings"]) if self._deliveries else []
        except (OSError, ValueError, KeyError):
            return []


def _prefect(flow_run: str | None) -> dict[str, str]:
    """What leads from MLflow to the Prefect run."""
    if flow_run is None:
        return {}
    from prefect.utilities.urls import url_for

    page = url_for("flow-run", obj_id=flow_run)
    return {"prefect.flow_run_id": flow_run, **({"prefect.flow_run_url": page} if page else {})}


def registered_name(method: str, config: LoopConfig) -> str:
    """What a run's checkpoints are registered as."""
    return config.model_name or f"{config.problems.partition(':')[0]}-{method}"


def health_metrics(health: dict[str, Any]) -> dict[str, float | None]:
    """An iteration's health as metrics; pass@1 and pass@K of all the K that there are."""
    found: dict[str, float | None] = {
        f"health_{name}": value for name, value in health.items() if isinstance(value, int | float)
    }
    curve = health.get("pass_at") or []
    return found | {f"pass_at_{k}": curve[k - 1] for k in {1, len(curve)} if curve}


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested settings by dotted name."""
    found: dict[str, object] = {}
    for name, value in settings.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found
