"""A run as OpenLineage events, made with the official client's classes: one JSON object a line, in the order of time.

    {"eventType": "COMPLETE", "run": {"runId": "…", "facets": {"parent": …, "starloop_step": …}},
     "job": {"namespace": "starloop", "name": "star.sample"}, "inputs": […], "outputs": […], …}

The run is one OpenLineage run, each of its steps another below it. Datasets are what steps exchange: shards,
training sets and checkpoints, each named by its content (see `storage.export.exchanged`). The ledger keeps no step that failed, so a run that did
ends with FAIL and its reason; one that was stopped or cancelled with ABORT. When a step began is worked out from its end and
its seconds.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from storage.columns import schema
from storage.export.destination import new_file, required
from storage.export.exchanged import StepShard, Things, exchanged
from storage.lineage import Lineage

NAMESPACE = "starloop"
PRODUCER = "urn:starloop"
"""What OpenLineage calls the producer: a URI of the software that says this."""

ENDINGS = {"completed": "COMPLETE", "failed": "FAIL", "cancelled": "ABORT", "stopped": "ABORT"}


def export_openlineage(lineage: Lineage, identity: str, to: Path, *, force: bool = False) -> int:
    """Writes a run's events; how many. Raises UserMistake if the client is not installed, with the command that does it."""
    required("openlineage", "openlineage-python")
    from openlineage.client.serde import Serde

    run_id = lineage.find(identity, ("run",)).id
    count = 0
    with new_file(to, force) as temporary, open(temporary, "x", encoding="utf-8") as out:
        for event in events(lineage, run_id):
            out.write(Serde.to_json(event) + "\n")
            count += 1
    return count


def events(lineage: Lineage, run_id: str) -> Iterator[Any]:
    """A run's `RunEvent`s; the client's classes check each as it is made."""
    from openlineage.client.event_v2 import Job, RunEvent, RunState, set_producer
    from openlineage.client.event_v2 import Run as OpenLineageRun
    from openlineage.client.facet_v2 import error_message_run, job_type_job, parent_run, processing_engine_run

    from storage.export import starloop_facets

    set_producer(PRODUCER)
    run = lineage.run(run_id)
    steps = lineage.steps(run_id)
    things = exchanged(lineage, run_id, steps)
    engine = processing_engine_run.ProcessingEngineRunFacet(version=_version(), name="starloop")
    job = Job(NAMESPACE, run.method, {"jobType": _job_type(job_type_job, "DAG")})
    about: dict[str, Any] = {"processing_engine": engine, "starloop_run": starloop_facets.run(run)}
    started = OpenLineageRun(_uuid(run_id), about)
    yield RunEvent(eventType=RunState.START, eventTime=_stamp(run.started_at), run=started, job=job)
    parent = parent_run.ParentRunFacet(run=parent_run.Run(_uuid(run_id)), job=parent_run.Job(NAMESPACE, run.method))
    timed: list[tuple[datetime, int, Any]] = []
    for place, step in enumerate(steps):
        facets = {"parent": parent, "processing_engine": engine, "starloop_step": starloop_facets.step(step)}
        one = OpenLineageRun(_uuid(step.step_id), facets)
        task = Job(NAMESPACE, f"{run.method}.{step.step}", {"jobType": _job_type(job_type_job, "TASK")})
        inputs, outputs = _inputs(things[step.step_id].read), _outputs(things[step.step_id].written)
        begun = step.committed_at - timedelta(seconds=step.startup_s + step.work_s)
        for state, when, written in ((RunState.START, begun, []), (RunState.COMPLETE, step.committed_at, outputs)):
            event = RunEvent(
                eventType=state,
                eventTime=_stamp(when),
                run=one,
                job=task,
                inputs=inputs,
                outputs=written,
            )
            timed.append((when, place, event))
    yield from (event for _, _, event in sorted(timed, key=lambda entry: entry[:2]))
    if run.finished_at is None or run.state not in ENDINGS:
        return
    if run.state != "completed":
        why = str(run.facts.get("why") or run.state)
        about |= {"errorMessage": error_message_run.ErrorMessageRunFacet(why, "python")}
    yield RunEvent(
        eventType=RunState(ENDINGS[run.state]), eventTime=_stamp(run.finished_at),
        run=OpenLineageRun(_uuid(run_id), about), job=job,
    )  # fmt: skip


def _inputs(read: Things) -> list[Any]:
    from openlineage.client.event_v2 import InputDataset

    return [InputDataset(NAMESPACE, name, facets=_described(shard)) for name, shard in read.items()]


def _outputs(written: Things) -> list[Any]:
    from openlineage.client.event_v2 import OutputDataset

    return [
        OutputDataset(NAMESPACE, name, facets=_described(shard), outputFacets=_counted(shard))
        for name, shard in written.items()
    ]


def _counted(shard: StepShard | None) -> dict[str, Any]:
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    if shard is None:
        return {}
    counted = statistics.OutputStatisticsOutputDatasetFacet(rowCount=shard.rows, fileCount=1)
    return {"outputStatistics": counted}


def _described(shard: StepShard | None) -> dict[str, Any]:
    from openlineage.client.facet_v2 import schema_dataset

    if shard is None:
        return {}
    columns = [schema_dataset.SchemaDatasetFacetFields(one.name, str(one.type)) for one in schema(shard.table_name)]
    return {"schema": schema_dataset.SchemaDatasetFacet(columns)}


def _job_type(facet: Any, kind: str) -> Any:
    return facet.JobTypeJobFacet(processingType="BATCH", integration="STARLOOP", jobType=kind)


def _uuid(identity: str) -> str:
    from uuid import UUID

    return str(UUID(identity))


def _stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _version() -> str:
    try:
        return version("starloop")
    except PackageNotFoundError:
        return "0"
