"""`starloop serve`: everything on this machine that runs from a browser need."""

import signal
import sys
from pathlib import Path

from rich.console import Console

from storage.home import Home


def serve(*, home: Path | None = None, prefect_port: int = 4200, mlflow_port: int = 5000, at_once: int = 1) -> None:
    """Start Prefect's server (if none answers), MLflow's pages, the deployments and a worker; Ctrl-C ends what was started.

    Parameters
    ----------
    home
        Folder of the ledger that the runs write; STARLOOP_HOME or ./.starloop if not given.
    prefect_port
        Where Prefect's pages are, if they are started here.
    mlflow_port
        Where MLflow's pages are, if they are started here.
    at_once
        How many runs are carried out at a time; more than one share this machine's GPUs and cores.
    """
    from flows.station import Station
    from storage.errors import UserMistake

    if at_once < 1:
        raise UserMistake(f"at-once = {at_once} does not fit; give at least 1")
    console = Console(highlight=False)
    opened = Home.open(home)
    station = Station(opened, prefect_port=prefect_port, mlflow_port=mlflow_port)
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    try:
        console.print("[dim]starting Prefect's server, MLflow and a worker; the first time this takes a minute[/dim]")
        ours = station.start_prefect()
        station.start_mlflow()
        station.deploy(at_once)
        station.start_worker()
        base = station.prefect_url.removesuffix("/api")
        console.print(f"Prefect  {base}/deployments{'' if ours else '  (was running)'}", soft_wrap=True)
        console.print(f"MLflow   {station.mlflow_url}", soft_wrap=True)
        console.print(f"home     {opened.root}", soft_wrap=True)
        console.print("Pick a deployment, press Run, choose a preset. Ctrl-C here ends everything.")
        sys.stdout.flush()
        station.wait()
    except KeyboardInterrupt:
        console.print("[dim]ending the worker, MLflow and Prefect's server[/dim]")
    finally:
        station.stop()
