"""What a run shows of itself in Prefect's pages: its log, a bar for the step under way, a table of its iterations, links at its end.

The bar and what children write into their log files are sent from a thread of their own, so that no step waits for the server.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any
from uuid import UUID

from flows.progress import IterationDone, Listener, LogListener, RunDone, StepDone
from storage.home import Home

listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
"""Who watches this process's runs; the command line sets it, a Prefect worker's run shows itself in Prefect's pages."""

EVERY_S = 2.0
LINES_AT_ONCE = 200
"""More lines of a child's log than this in one go are cut: the file has them all."""
SHOWN = ("held_out_accuracy", "ci_low", "ci_high", "attempts", "kept", "undecided", "train_rows", "tokens", "wall_s")
EVENT = "starloop.iteration.finished"
"""The event that automations can wait for; its payload is the iteration's figures."""
UNDECIDED = "starloop.undecided.many"
MANY = 0.2
"""From this share of undecided verdicts on, that is an event of its own: a verifier that cannot decide is no filter."""


@contextmanager
def watching(home: Home) -> Iterator[Listener]:
    """Whoever watches this process's runs, to the end of one."""
    if (told := listener.get()) is not None:
        yield told
        return
    pages = PrefectListener(home)
    try:
        yield pages
    finally:
        pages.close()


class PrefectListener(LogListener):
    """Tells the Prefect run it is made in."""

    def __init__(self, home: Home) -> None:
        from prefect.runtime import flow_run

        super().__init__()
        self._home, logs = home, home.logs
        self._flow_run = str(flow_run.id)
        self._key = self._flow_run.replace("-", "")[:12]
        self._rows: list[dict[str, Any]] = []
        self._bar: UUID | None = None
        self._now: tuple[str, float] | None = None
        self._shown: tuple[str, float] | None = None
        self._tails = {path: path.stat().st_size for path in logs.glob("*.log")} if logs.is_dir() else {}
        self._logs = logs
        self._ended = threading.Event()
        # With this run's context: what is told without it belongs to no run.
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._follow,), name="prefect-pages", daemon=True
        )
        self._thread.start()

    def step_started(self, iteration: int, title: str, cells: int) -> None:
        super().step_started(iteration, title, cells)
        self._now = (f"iteration {iteration}: {title}", 0.0)

    def advance(self, step: str, done: int, total: int) -> None:
        if self._now is not None and total:
            self._now = (self._now[0], 100.0 * done / total)

    def step_done(self, step: StepDone) -> None:
        super().step_done(step)
        self._now = (f"iteration {step.iteration}: {step.title}", 100.0)

    def iteration_done(self, iteration: IterationDone) -> None:
        from prefect.artifacts import create_table_artifact

        super().iteration_done(iteration)
        figures = iteration.summary
        self._rows.append({"iteration": figures.get("iteration"), **{name: shown(figures.get(name)) for name in SHOWN}})
        self._told(
            lambda: create_table_artifact(
                self._rows, key=f"iterations-{self._key}", description="iterations of the run"
            )
        )
        payload = {name: figures.get(name) for name in ("iteration", *SHOWN, "checkpoint_id")}
        attempts = figures.get("attempts") or 0
        share = payload["undecided_share"] = (figures.get("undecided") or 0) / attempts if attempts else 0.0
        for event in (EVENT, *([UNDECIDED] if share > MANY else [])):
            self._emit(event, payload)

    def run_done(self, run: RunDone) -> None:
        from prefect.artifacts import create_markdown_artifact

        super().run_done(run)
        report = self._report(run)
        self._told(
            lambda: create_markdown_artifact(
                links(run, report), key=f"run-{run.run_id[:12]}", description="where to look next"
            )
        )

    def close(self) -> None:
        """Say what is left to be said."""
        self._ended.set()
        self._thread.join(timeout=10)

    def _emit(self, event: str, payload: dict[str, Any]) -> None:
        from prefect.events import emit_event
        from prefect.runtime import deployment

        resource = {"prefect.resource.id": f"prefect.flow-run.{self._flow_run}"}
        related = (
            [{"prefect.resource.id": f"prefect.deployment.{deployment.id}", "prefect.resource.role": "deployment"}]
            if deployment.id
            else []
        )
        self._told(lambda: emit_event(event, resource=resource, related=related, payload=payload))

    def _report(self, run: RunDone) -> Path | None:
        """The run's page, where it has figures to show."""
        from storage.report import write_report

        if not self._rows:
            return None
        try:
            return write_report(self._home, run.run_id, None)
        except Exception as error:  # noqa: BLE001 - a page that is not written; the run and its ledger do not depend on it
            self._logger.warning("no report was written: %s", error)
            return None

    def _follow(self) -> None:
        while not self._ended.wait(EVERY_S):
            self._show()
        self._show()

    def _show(self) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        for line in self._new_lines():
            self._logger.log(logging.INFO, line)
        if self._now == self._shown or self._now is None:
            return
        what, percent = self._shown = self._now
        if self._bar is None:
            self._told(lambda: setattr(self, "_bar", create_progress_artifact(percent, f"step-{self._key}", what)))
        else:
            bar = self._bar
            self._told(lambda: update_progress_artifact(bar, percent, what))

    def _new_lines(self) -> list[str]:
        """What children have written since the last look."""
        found: list[str] = []
        for path in sorted(self._logs.glob("*.log")) if self._logs.is_dir() else ():
            if path.name in OTHERS:
                continue
            with path.open("rb") as log:
                log.seek(self._tails.get(path, 0))
                text = log.read()
            whole = text.rpartition(b"\n")[0]
            if whole:
                self._tails[path] = self._tails.get(path, 0) + len(whole) + 1
                lines = whole.decode("utf-8", "replace").splitlines()
                cut = [f"… {len(lines) - LINES_AT_ONCE} more lines in {path}"] if len(lines) > LINES_AT_ONCE else []
                found += [f"{path.stem}: {line}" for line in [*lines[:LINES_AT_ONCE], *cut]]
        return found

    def _told(self, tell: Callable[[], object]) -> None:
        """What Prefect's server does not take is no reason for a run to end."""
        try:
            tell()
        except Exception as error:  # noqa: BLE001 - a page that is not drawn; the run and its ledger do not depend on it
            self._logger.warning("Prefect's pages could not be told: %s", error)


OTHERS = frozenset({"prefect-server.log", "mlflow-server.log", "worker.log"})
"""Logs of servers that are not the run's."""


def links(run: RunDone, report: Path | None) -> str:
    """Where to look at a finished run, in Markdown."""
    lines = [
        f"**{run.state}**{f': {run.why}' if run.why else ''}",
        "",
        f"- `starloop status {run.run_id[:12]}`: its figures",
    ]
    if report is not None:
        lines.append(f"- [report]({report.as_uri()}): one page about it, `{report}`")
    if pages := os.environ.get("STARLOOP_MLFLOW_UI"):
        lines.append(f"- [MLflow]({pages}/#/experiments): tagged `starloop.run = {run.run_id}`")
    return "\n".join(lines)


def shown(value: Any) -> Any:
    """A figure as a table shows it."""
    return round(value, 4) if isinstance(value, float) else value
