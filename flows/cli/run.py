"""`starloop run`: a method's flow in this process, drawn in the terminal."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console

from flows.cli.settings import Assignments, Preset, nested, parse
from storage.home import Home


def run(
    method: str,
    /,
    *,
    preset: Preset = None,
    set: Assignments = None,
    iterations: int | None = None,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    name: str | None = None,
    max_tokens: int | None = None,
    max_hours: float | None = None,
    home: Path | None = None,
) -> None:
    """Run a method. The same command again goes on from where it was; what is finished is never redone.

    Parameters
    ----------
    method
        star
    iterations
        How many iterations; after 4, `--iterations 6` runs two more.
    from_
        Branch from this checkpoint (ckp_…) in place of the preset's model.
    name
        What the run is called in lists; changes no result.
    max_tokens
        Stop, resumably, once so many tokens were generated.
    max_hours
        Stop, resumably, after so many hours.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from flows.machine import workers
    from flows.refs import check
    from flows.resolving import resolve

    settings = parse(set or []) | given(
        {
            "iterations": iterations,
            "model.source": from_,
            "name": name,
            "stop.max_tokens": max_tokens,
            "stop.max_hours": max_hours,
        }
    )
    for config in resolve(method, preset, settings).expanded():
        check(config)
    workers()
    opened = Home.open(home)
    run_ids = carry_out(method, preset, settings, opened, Console())
    from flows.cli.status import show_end

    show_end(opened, run_ids)


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in options.items() if value is not None}


def carry_out(method: str, preset: str | None, settings: dict[str, Any], home: Home, console: Console) -> list[str]:
    """Start what the run needs, run the flow, and give back the run ids. Raises what the flow raised."""

    def request() -> Any:
        from flows.request import REQUESTS

        given = {"preset": preset, "home": str(home.root), "overrides": nested(settings)}
        return REQUESTS[method].model_validate(given)

    return on_server(method, request, home, console, also=" and the training process")


def on_server(flow: str, request: Callable[[], Any], home: Home, console: Console, also: str = "") -> Any:
    """Run a flow on Prefect's server, drawn in the terminal; what it returns. Raises what it raised.

    `request` is called while the server starts, since what makes one takes its time to import.
    """
    from flows.server import server

    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    prefect_server = server(home.logs / "prefect-server.log")
    prefect_server.start()
    console.print(f"[dim]starting: Prefect's server ({prefect_server.url}){also}[/dim]")
    try:
        from flows.cli.console import ConsoleListener
        from flows.methods import flow_of
        from flows.watched import listener

        asked = request()
        prefect_server.wait()
        with ConsoleListener(console) as told:
            token = listener.set(told)
            try:
                return flow_of(flow)(asked)
            finally:
                listener.reset(token)
    finally:
        prefect_server.stop()
        sys.stdout.flush()
