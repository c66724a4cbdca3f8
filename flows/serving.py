"""A registered model served by an existing server, `transformers serve`: an OpenAI-compatible endpoint on loopback.

    served(home, told, "addition-star@champion")         # Served(folder='…/mlartifacts/…/model', version=3, …)
    command(served, port=8000)                           # ['…/python', '-P', '-m', 'transformers.cli.transformers', 'serve', …]

What is served are MLflow's own files, those of an alias as it stands now. An adapter is put into its base first, once, under `tmp/`.
"""

import os
import re
import shutil
import socket
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from flows.aliases import Registry
from flows.progress import Listener
from storage.errors import UserMistake
from storage.home import Home
from storage.identity import show
from storage.ledger import Ledger
from tasks.processes import Processes

NAMED = re.compile(r"(?:models:/)?([^@/]+)(?:([@/])(.+))?")
"""NAME, NAME@alias or NAME/version."""

NEEDS = ("fastapi", "openai", "uvicorn")


@dataclass(frozen=True, slots=True)
class Served:
    """A version of a model, ready to be served from a folder."""

    model_name: str
    version: int
    checkpoint_id: str | None
    folder: Path


def served(home: Home, told: Listener, named: str) -> Served:
    """The version that `NAME@alias` or `NAME/version` names, with its files. Raises UserMistake for what is not there."""
    words = NAMED.fullmatch(named.strip())
    if words is None:
        raise UserMistake(f"{named!r} names no registered model; write NAME@champion, or NAME/3 for a version")
    name, separator, which = words.groups()
    ledger = Ledger(home)
    processes = Processes(home.logs, preload=("engine", "tracking"))
    try:
        registry = Registry(home, ledger, processes, told)
        standing = registry.standing(name)
        if not standing.versions:
            raise UserMistake(
                f"MLflow has no model {name!r}; `starloop status` lists the runs, and their checkpoints are registered by name"
            )
        version = _version(name, which or "champion", separator or "@", standing.aliases, list(standing.versions))
        place = registry.files(name, version)
        folder = Path(place["folder"])
        if place["base"] is not None:
            folder = _merged(
                home, processes, told, folder, Path(place["base"]), standing.versions[version] or f"{name}-{version}"
            )
        return Served(name, version, standing.versions[version], folder)
    finally:
        processes.close()
        ledger.close()


def _version(name: str, which: str, separator: str, aliases: dict[str, int], versions: list[int]) -> int:
    if separator == "/":
        if not which.isdigit() or int(which) not in versions:
            raise UserMistake(f"{name} has no version {which}; it has: {', '.join(map(str, sorted(versions)))}")
        return int(which)
    if which not in aliases:
        there = ", ".join(f"{alias} (version {version})" for alias, version in sorted(aliases.items())) or "none"
        raise UserMistake(f"{name} has no alias {which!r}; it has: {there}. `starloop promote` gives one")
    return aliases[which]


def _merged(home: Home, processes: Processes, told: Listener, adapter: Path, base: Path, name: str) -> Path:
    """An adapter in its base, as whole weights that a server opens."""
    folder = home.tmp / f"served-{name}"
    if not (folder / "config.json").is_file():
        told.said(f"the adapter is put into its base, in {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        processes.call("tasks.training.merged:merge", str(adapter), str(base), str(folder))
    return folder


def command(one: Served, port: int) -> list[str]:
    """What serves it. Raises UserMistake where the server is not installed or the port is taken."""
    if missing := [name for name in NEEDS if find_spec(name) is None]:
        raise UserMistake(
            f"serving needs {', '.join(missing)}, which is not installed; pip install 'starloop[servers]'"
        )
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserMistake(f"port {port} cannot be had ({error.strerror}); name another with --port") from error
    server = [sys.executable, "-P", "-m", "transformers.cli.transformers", "serve"]
    return [*server, str(one.folder), "--host", "127.0.0.1", "--port", str(port)]


def environment() -> dict[str, str]:
    """What the server is told: nothing is fetched from the hub, and nothing is reported."""
    return dict(os.environ) | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def label(one: Served) -> str:
    """What is served, in words."""
    whose = f" ({show('ckp', one.checkpoint_id)[:12]})" if one.checkpoint_id else ""
    return f"{one.model_name} version {one.version}{whose}"
