"""The Prefect server that a run talks to: the user's own (PREFECT_API_URL or the active profile), else one started for
the run on a free loopback port, which ends with it, however it ends.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from storage.errors import ServerFault

STARTUP_TIMEOUT_S = 180.0
"""A fresh Prefect home takes about half a minute on two busy cores, most of it database migrations."""

QUIET = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Nothing leaves the machine because of us; what the user has set wins."""

LEAN = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
}
"""A server for one run schedules nothing."""

_PR_SET_PDEATHSIG = 1


def keep_quiet() -> None:
    """Set before Prefect, MLflow and the Hugging Face libraries are imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def users_api_url() -> str | None:
    """The Prefect API that the user has chosen, by environment or profile; read without importing Prefect."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    try:
        profiles = tomllib.loads((home / "profiles.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active", "")
    return profiles.get("profiles", {}).get(active, {}).get("PREFECT_API_URL")


class LocalServer:
    """A Prefect server of our own. `start` returns at once; `wait` when it answers."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> None:
        """Begin starting it, and point this process's Prefect at it."""
        port = free_port()
        self.url = f"http://127.0.0.1:{port}/api"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = _uvicorn(port, log)
        os.environ["PREFECT_API_URL"] = self.url

    def wait(self) -> None:
        """Raises ServerFault, with what to do, when it does not answer in time or has ended."""
        assert self._process is not None
        deadline = time.monotonic() + STARTUP_TIMEOUT_S
        while time.monotonic() < deadline:
            if (code := self._process.poll()) is not None:
                raise ServerFault(
                    f"Prefect's server ended with code {code} while starting; its log is {self._log}; "
                    "start one with `prefect server start`, set PREFECT_API_URL, and run again"
                )
            if answers(self.url):
                return
            time.sleep(0.05)
        self.stop()
        raise ServerFault(
            f"Prefect's server did not answer within {STARTUP_TIMEOUT_S:.0f} s; its log is {self._log}; "
            "start one with `prefect server start`, set PREFECT_API_URL, and run again"
        )

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class UsersServer:
    """The user's own server: never started or stopped by us."""

    def __init__(self, url: str) -> None:
        self.url = url

    def start(self) -> None:
        """Nothing to start."""

    def wait(self) -> None:
        """Raises ServerFault when it does not answer."""
        if not answers(self.url, timeout=10):
            raise ServerFault(
                f"the Prefect server at {self.url} does not answer; start it, or unset PREFECT_API_URL to have one started for the run"
            )

    def stop(self) -> None:
        """Not ours to stop."""


def server(log: Path) -> LocalServer | UsersServer:
    """The user's server if there is one, else one of our own."""
    url = users_api_url()
    return UsersServer(url) if url else LocalServer(log)


def answers(url: str, timeout: float = 2) -> bool:
    """True when the API's health check does."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=timeout) as response:
            return response.status == 200
    except (OSError, urllib.error.URLError):
        return False


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _uvicorn(port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-P",
        "-m",
        "uvicorn",
        "--factory",
        "prefect.server.api.server:create_app",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--log-level",
        "error",
        "--lifespan",
        "on",
    ]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, **LEAN},
        preexec_fn=end_with_parent if sys.platform == "linux" else None,
    )


def end_with_parent() -> None:
    """Linux: the server is told to end when this process is gone, even by SIGKILL."""
    os.setpgid(0, 0)  # Ctrl-C is for the run; it stops the server itself
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
