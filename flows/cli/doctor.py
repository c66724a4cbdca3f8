"""`starloop doctor`: whether this machine can run a loop."""

import importlib.metadata
import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from flows.machine import has_gpu, usable_cores, workers
from storage.errors import UserMistake
from storage.home import Home

NEEDED = (
    "prefect",
    "torch",
    "transformers",
    "trl",
    "peft",
    "bitsandbytes",
    "datasets",
    "duckdb",
    "mlflow",
    "pyarrow",
    "fastapi",
)
BYTES_A_ROW = 700
"""A stored attempt with its verdict and example, in shards and both databases; measured on the embedded problem set."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `fault` is what to do about it; empty when it is well."""

    what: str
    found: str
    fault: str = ""


def doctor(*, preset: str = "addition-quick", engine: str | None = None, home: Path | None = None) -> None:
    """Look at Python, packages, cores, home, disk and servers; exits 1 if something keeps a loop from running.

    Parameters
    ----------
    preset
        The run whose disk use is estimated.
    engine
        An engine to look at as well: whether its options fit, and whether its server answers.
    home
        Folder of the ledger; STARLOOP_HOME or ./.starloop if not given.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    found = [*environment(), *folder(home, preset), *servers(), *([writes(engine)] if engine else [])]
    table = Table("what", "found", "to do", show_lines=False)
    for one in found:
        table.add_row(one.what, one.found, Text(one.fault or "—", style="red" if one.fault else "green"))
    Console().print(table)
    if any(one.fault for one in found):
        raise SystemExit(1)


def environment() -> list[Finding]:
    """Python, the packages, and what there is to compute with."""
    findings = [Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")]
    for name in NEEDED:
        try:
            findings.append(Finding(name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            findings.append(Finding(name, "not installed", f"pip install {name}"))
    fastapi = next((one.found for one in findings if one.what == "fastapi" and not one.fault), None)
    if fastapi is not None and not fits_prefect(fastapi):
        findings.append(Finding("fastapi with Prefect", fastapi, "pip install 'fastapi>=0.139,<0.151'"))
    findings.append(Finding("code sandbox", shut_in()))
    findings.append(Finding("cores", str(usable_cores())))
    findings.append(Finding("GPU", "an NVIDIA driver is here" if has_gpu() else "none; loops run on the CPU"))
    try:
        findings.append(Finding("engines side by side", str(workers())))
    except UserMistake as mistake:
        findings.append(Finding("engines side by side", os.environ["STARLOOP_WORKERS"], str(mistake)))
    return findings


def shut_in() -> str:
    """Whether the verifier `code` can shut programs in here; only that verifier needs it, so it is no fault if not."""
    from tasks.verifiers.sandbox import protections

    return protections() or "programs are shut in: no network, no files but Python's library, limits of their own"


def fits_prefect(fastapi: str) -> bool:
    """Whether Prefect's server runs with this FastAPI; a version that is no number is taken to."""
    found = re.match(r"(\d+)\.(\d+)", fastapi)
    return found is None or (0, 139) <= (int(found[1]), int(found[2])) < (0, 151)


def folder(home: Path | None, preset: str) -> list[Finding]:
    """The home, and whether the disk holds what the preset writes."""
    from flows.resolving import presets, resolve

    root = Home.at(home).root
    there = next(place for place in (root, *root.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        return [Finding("home", str(root), f"{there} cannot be written; give another folder with STARLOOP_HOME")]
    if preset not in presets():
        return [Finding("preset", preset, f"choose one of {', '.join(presets())}")]
    config = resolve(presets()[preset]["method"], preset, {})
    rows = config.iterations * config.problems_per_iteration * (config.samples + 1) * max(1, len(config.arms))
    estimate = rows * BYTES_A_ROW + config.iterations * max(1, len(config.arms)) * 8 * 2**20
    free = shutil.disk_usage(there).free
    short = f"free {(estimate - free) / 2**30:.1f} GiB more" if free < estimate else ""
    return [
        Finding("home", f"can be {'written' if root.exists() else 'made'}: {root}"),
        Finding(f"disk for {preset}", f"about {estimate / 2**20:,.0f} MiB of {free / 2**30:,.1f} GiB free", short),
    ]


def servers() -> list[Finding]:
    """Prefect and MLflow, as a run would use them."""
    from flows.server import answers, users_api_url

    url = users_api_url()
    if url is None:
        prefect = Finding("Prefect", "one is started for each run")
    else:
        prefect = Finding(
            "Prefect", url, "" if answers(url, timeout=5) else f"start it, or unset PREFECT_API_URL; {url} is silent"
        )
    tracking = os.environ.get("MLFLOW_TRACKING_URI")
    return [prefect, Finding("MLflow", tracking or "a database in the home (mlflow.db)")]


def writes(ref: str) -> Finding:
    """Whether an engine could be used: its options, what it needs, and of a served one the server. No model is loaded."""
    from storage.errors import StarloopError
    from tasks.engines.registry import check_options, is_served, open_engine

    try:
        check_options(ref)
        if not is_served(ref):
            return Finding("engine", f"{ref} (its model is loaded when it is used)")
        engine = open_engine(ref, Path("MODEL"))
        engine.close()
    except StarloopError as fault:
        return Finding("engine", ref, str(fault))
    return Finding("engine", f"{engine.name}: it answers")
