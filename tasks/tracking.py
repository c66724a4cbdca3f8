"""Brings MLflow to the state the outbox says. The only module that imports mlflow, and only inside functions.

    put(home, Loop(...)); put(home, Iteration(...)); put(home, Registration(...))     # tasks.outbox: milliseconds
    deliver(home)                                                                     # here: in a child, in the background
    results(home).version(checkpoint_id)                                              # tasks.outbox: what came of it

Everything is looked for by its tag before it is created, and metrics carry their recorded time, so a message told
twice, or half told by a process that was killed, leaves one run, one version and one point. What cannot be told stays
in the outbox and is a sentence in `Delivery.warnings`; it never raises.
"""

import contextlib
import json
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.errors import ServerFault, StarloopError, StorageFault
from storage.faults import reached
from storage.home import atomic_write
from tasks.model_folder import flavor, lay_out
from tasks.outbox import Outbox, waits
from tasks.tracking_datasets import inputs
from tasks.tracking_messages import Finish, Iteration, Loop, Message, Registration, milliseconds, short, text
from tasks.tracking_server import HOME, address, answers, artifacts, destination, follow, silence, untold

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion

ID_TAG = "starloop.id"
"""The tag of a run that holds the loop's or the iteration's id."""

CHECKPOINT_TAG = "starloop.checkpoint_id"

VERSIONS_TAG = "mlflow.modelVersions"

BATCH = 100
"""MLflow takes at most this many parameters or tags in one call."""

STATES = {"completed": "FINISHED", "stopped": "KILLED", "failed": "FAILED", "cancelled": "KILLED"}

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Set before mlflow is imported, where the user has not set them."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one delivery did. `waiting` messages are still in the outbox, and `warnings` says why, a sentence each."""

    delivered: int
    waiting: int
    warnings: tuple[str, ...]
    seconds: float


def run(spec_path: Path | str) -> dict[str, Any]:
    """`deliver` for a child process: `spec_path` is JSON `{"home": …, "result": …}`.

    Gives back the Delivery as a dict, and writes it to `result` where that is named.
    """
    spec = json.loads(Path(spec_path).read_bytes())
    outcome = asdict(deliver(Path(spec["home"]), spec.get("tracking_uri")))
    if spec.get("result"):
        atomic_write(Path(spec["result"]), json.dumps(outcome).encode())
    return outcome


def deliver(home_root: Path, tracking_uri: str | None = None) -> Delivery:
    """Tell MLflow everything that waits for it, in order; milliseconds, without mlflow, when nothing does.

    Best in a process of its own: MLflow keeps a database that it opened open, also one that was deleted since.
    """
    began = time.monotonic()
    outbox, to = Outbox(home_root), destination(home_root, tracking_uri)
    faults: list[str] = []
    delivered = 0
    if waits(home_root, tracking_uri):
        uri = address(home_root, tracking_uri)
        try:
            with outbox.held("delivery"):
                if not answers(uri):
                    raise ServerFault(silence(to))
                with quietly(home_root):
                    delivered, faults = _tell(outbox, to, uri)
        except (StarloopError, OSError) as fault:
            faults.append(str(fault))
    return Delivery(delivered, len(outbox.waiting(to)), tuple(faults), time.monotonic() - began)


def _tell(outbox: Outbox, to: str, uri: str) -> tuple[int, list[str]]:
    """How many messages were told, and what kept the others."""
    if outbox.lost(to):
        outbox.forget(to)
    if to == HOME:
        follow(outbox.root)
    teller, delivered, causes = None, 0, dict[str, list[str]]()
    for name in outbox.waiting(to):
        try:
            teller = teller or Teller(outbox, to, uri)
            outbox.record(name, to, teller.tell(name, outbox.read(name)))
            delivered += 1
        except Exception as fault:  # whatever MLflow raises: the message waits, and its cause is told
            logging.getLogger("mlflow").warning("%s was not delivered", name, exc_info=fault)
            if not answers(uri):
                return delivered, [silence(to)]
            cause = str(fault).strip().partition("\n")[0].rstrip(".") or type(fault).__name__
            causes.setdefault(cause, []).append(name)
    return delivered, [untold(cause, names) for cause, names in causes.items()]


@dataclass
class Teller:
    """One connection to one MLflow, telling one message after another."""

    outbox: Outbox
    to: str
    uri: str

    @cached_property
    def client(self) -> "MlflowClient":
        from mlflow import MlflowClient

        return MlflowClient(self.uri)

    def tell(self, name: str, message: Message) -> dict[str, object]:
        """Bring MLflow to what the message says; returns what it is called there."""
        match message:
            case Loop():
                return self.loop(message)
            case Iteration():
                return self.iteration(message)
            case Registration():
                return self.registration(name, message)
            case Finish():
                return self.finish(message)

    def loop(self, loop: Loop) -> dict[str, object]:
        experiment = self.experiment(loop.experiment)
        tags = {
            ID_TAG: loop.loop_id,
            "starloop.kind": "loop",
            "starloop.method": loop.method,
            "starloop.preset": loop.preset,
            "mlflow.source.name": "starloop",
            "mlflow.source.type": "LOCAL",
            **loop.tags,
        }
        run = self.find(experiment, loop.loop_id) or self.client.create_run(
            experiment, milliseconds(loop.started_at), tags, run_name=loop.name
        )
        reached("mlflow-after-run")
        self.describe(run, {"method": loop.method, "preset": loop.preset, **loop.params}, tags)
        return {"loop_id": loop.loop_id, "run_id": run.info.run_id, "experiment_id": experiment}

    def iteration(self, iteration: Iteration) -> dict[str, object]:
        parent = self.parent(iteration.loop_id)
        child = self.child(parent, iteration.iteration_id, iteration.iteration, iteration.started_at or iteration.at)
        self.describe(child, iteration.params, iteration.tags)
        if iteration.datasets:
            self.client.log_inputs(child.info.run_id, inputs(iteration.datasets))
        for run in (child, parent):
            self.metrics(run, iteration.metrics, iteration.at, iteration.iteration)
        reached("mlflow-after-metrics")
        self.client.set_terminated(child.info.run_id, "FINISHED", milliseconds(iteration.at))
        if parent.info.status != "RUNNING" and milliseconds(iteration.at) > (parent.info.end_time or 0):
            self.client.update_run(parent.info.run_id, status="RUNNING")
        return {"iteration_id": iteration.iteration_id, "run_id": child.info.run_id}

    def finish(self, finish: Finish) -> dict[str, object]:
        parent = self.parent(finish.loop_id)
        self.describe(parent, {}, finish.tags)
        self.metrics(parent, finish.metrics, finish.at, finish.iteration)
        self.client.set_terminated(parent.info.run_id, STATES.get(finish.state, "FAILED"), milliseconds(finish.at))
        return {"loop_id": finish.loop_id, "run_id": parent.info.run_id}

    def registration(self, name: str, asked: Registration) -> dict[str, object]:
        tags = {
            CHECKPOINT_TAG: asked.checkpoint_id,
            "starloop.loop_id": asked.loop_id,
            "starloop.iteration": str(asked.iteration),
            "starloop.at": asked.at.isoformat(),
            **{key: text(value) for key, value in asked.evidence.items()},
        }
        parent = self.parent(asked.loop_id)
        version = self.version(asked)
        if version is None:
            reached("mlflow-before-registration")
            model = self.model(parent, asked, tags)
            version = self.create_version(parent, model, asked, tags)
        reached("mlflow-after-version")
        for key in tags.keys() - version.tags.keys():
            self.client.set_model_version_tag(asked.model_name, version.version, key, tags[key])
        self.link(parent, asked, int(version.version))
        if asked.alias and not self.outbox.registered_later(name, self.to, asked.model_name, asked.alias):
            self.client.set_registered_model_alias(asked.model_name, asked.alias, version.version)
        reached("mlflow-after-alias")
        return {
            "checkpoint_id": asked.checkpoint_id,
            "model_name": asked.model_name,
            "alias": asked.alias,
            "version": int(version.version),
        }

    def version(self, asked: Registration) -> "ModelVersion | None":
        """The version that this checkpoint already is, if it is one."""
        wanted = f"name = '{asked.model_name}' and tags.`{CHECKPOINT_TAG}` = '{asked.checkpoint_id}'"
        return next(iter(self.client.search_model_versions(wanted)), None)

    def create_version(
        self, parent: "Run", model: "LoggedModel", asked: Registration, tags: dict[str, str]
    ) -> "ModelVersion":
        if not self.client.search_registered_models(f"name = '{asked.model_name}'"):
            self.client.create_registered_model(asked.model_name)
        # A store opened directly resolves models:/ through MLflow's global tracking address, which is not this one.
        remote = self.uri.startswith(("http://", "https://", "databricks"))
        source = f"models:/{model.model_id}" if remote else model.artifact_location
        run_id = model.source_run_id or parent.info.run_id
        return self.client.create_model_version(asked.model_name, source, run_id, tags, model_id=model.model_id)

    def logged(self, parent: "Run", asked: Registration) -> "LoggedModel | None":
        wanted = f"tags.`{CHECKPOINT_TAG}` = '{asked.checkpoint_id}'"
        return next(iter(self.client.search_logged_models([parent.info.experiment_id], wanted)), None)

    def model(self, parent: "Run", asked: Registration, tags: dict[str, str]) -> "LoggedModel":
        """The checkpoint as a logged model with its files; one that was left half uploaded is completed."""
        from mlflow.entities import LoggedModelOutput, LoggedModelStatus

        run = self.child(parent, asked.iteration_id, asked.iteration, asked.started_at or asked.at)
        model = self.logged(parent, asked) or self.client.create_logged_model(
            parent.info.experiment_id, asked.model_name, run.info.run_id, tags, dict(run.data.params)
        )
        if model.status != LoggedModelStatus.READY:
            with tempfile.TemporaryDirectory(prefix="model-", dir=self.outbox.folder) as stage:
                write_model(Path(stage), asked, model, run.info.run_id)
                self.client.log_model_artifacts(model.model_id, stage)
            reached("mlflow-after-upload")
            self.client.finalize_logged_model(model.model_id, "READY")
        outputs = self.client.get_run(run.info.run_id).outputs
        if model.model_id not in {output.model_id for output in (outputs.model_outputs if outputs else [])}:
            self.client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, asked.iteration)])
        return model

    def link(self, parent: "Run", asked: Registration, version: int) -> None:
        """What MLflow's pages read to lead from a logged model to its version."""
        model = self.logged(parent, asked)
        if model is not None:
            listed = json.loads(model.tags.get(VERSIONS_TAG, "[]"))
            here = {"name": asked.model_name, "version": str(version)}
            if here not in listed:
                self.client.set_logged_model_tags(model.model_id, {VERSIONS_TAG: json.dumps([*listed, here])})

    def experiment(self, name: str) -> str:
        """The id of the experiment with this name, created if need be."""
        found = self.client.get_experiment_by_name(name)
        if found is None:
            return self.client.create_experiment(name, artifacts(self.outbox.root) if self.to == HOME else None)
        if found.lifecycle_stage != "active":
            raise ServerFault(
                f"the MLflow experiment {name!r} was deleted; restore it (mlflow experiments restore -x {found.experiment_id}) "
                "or run under another experiment name"
            )
        return found.experiment_id

    def find(self, experiment: str, identity: str) -> "Run | None":
        """The run of this loop or iteration, if it is there and not deleted."""
        return next(iter(self.client.search_runs([experiment], f"tags.`{ID_TAG}` = '{identity}'", max_results=1)), None)

    def parent(self, loop_id: str) -> "Run":
        """A loop's run as it is now; one that a person deleted is made again from what was put about it."""
        loop = self.outbox.loop(loop_id, self.to)
        if loop is None:
            raise StorageFault(
                f"nothing in the outbox says what loop {loop_id} is; put a Loop before what belongs to it"
            )
        found = self.find(self.experiment(loop.experiment), loop_id)
        return found or self.client.get_run(str(self.loop(loop)["run_id"]))

    def child(self, parent: "Run", identity: str, iteration: int, started_at: datetime) -> "Run":
        """An iteration's run, created under its parent if need be."""
        tags = {
            ID_TAG: identity,
            "mlflow.parentRunId": parent.info.run_id,
            "starloop.kind": "iteration",
            "starloop.loop_id": parent.data.tags[ID_TAG],
            "starloop.iteration": str(iteration),
            "mlflow.source.name": "starloop",
            "mlflow.source.type": "LOCAL",
        }
        found = self.find(parent.info.experiment_id, identity)
        return found or self.client.create_run(
            parent.info.experiment_id, milliseconds(started_at), tags, run_name=f"iteration {iteration}"
        )

    def describe(self, run: "Run", params: Mapping[str, object], tags: Mapping[str, str]) -> None:
        """Parameters not logged yet, and tags. MLflow's parameters cannot change: a new value becomes the tag `now.<name>`."""
        from mlflow.entities import Param, RunTag

        wanted = {key: short(value) for key, value in params.items() if value is not None}
        known = run.data.params
        changed = {f"now.{key}": said for key, said in wanted.items() if known.get(key, said) != said}
        new_params = [Param(key, said) for key, said in wanted.items() if key not in known]
        new_tags = [RunTag(key, said) for key, said in {**changed, **tags}.items() if run.data.tags.get(key) != said]
        for start in range(0, max(len(new_params), len(new_tags)), BATCH):
            part = slice(start, start + BATCH)
            self.client.log_batch(run.info.run_id, params=new_params[part], tags=new_tags[part])

    def metrics(self, run: "Run", values: Mapping[str, float | None], at: datetime, step: int) -> None:
        from mlflow.entities import Metric

        points = [
            Metric(key, float(value), milliseconds(at), step) for key, value in values.items() if value is not None
        ]
        for start in range(0, len(points), BATCH):
            self.client.log_batch(run.info.run_id, metrics=points[start : start + BATCH])


def write_model(stage: Path, asked: Registration, model: "LoggedModel", run_id: str) -> None:
    """The model folder that `mlflow.transformers.load_model` and `mlflow models serve` open."""
    from mlflow import pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    size = lay_out(asked.folder, stage, asked.base_folder)
    string = Schema([ColSpec("string")])
    described = Model(
        artifact_path=model.artifact_location,
        run_id=run_id,
        model_uuid=model.model_id,
        model_id=model.model_id,
        signature=ModelSignature(inputs=string, outputs=string),
        model_size_bytes=size,
    )
    described.add_flavor("transformers", **flavor(asked.checkpoint_id, asked.base_folder))
    pyfunc.add_to_model(
        described, loader_module="mlflow.transformers", conda_env="conda.yaml", python_env="python_env.yaml"
    )
    described.save(str(stage / "MLmodel"))


@contextlib.contextmanager
def quietly(home_root: Path) -> Iterator[None]:
    """What MLflow, its database migrations and their warnings say goes to `<home>/logs/mlflow.log`, never to the terminal."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    (home_root / "logs").mkdir(parents=True, exist_ok=True)
    log = logging.FileHandler(home_root / "logs" / "mlflow.log", encoding="utf-8")
    log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "sqlalchemy.engine", "huey", "urllib3")]

    def show(message: Warning | str, category: type[Warning], *_: Any) -> None:
        logging.getLogger("mlflow").warning("%s: %s", category.__name__, message)

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        import mlflow  # noqa: F401 its import sets up the loggers that are redirected here

        before = [(logger, logger.handlers, logger.propagate) for logger in loggers]
        for logger in loggers:
            logger.handlers, logger.propagate = [log], False
        try:
            yield
        finally:
            for logger, handlers, propagate in before:
                logger.handlers, logger.propagate = handlers, propagate
            log.close()
