"""What one machine needs for runs that are started from a browser: Prefect's server, the deployments of prefect.yaml, a worker that
carries them out, and MLflow's pages over the home.

Each is the library's own command in a process that ends with this one. A Prefect server that answers already is used as it is.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from flows.server import STARTUP_TIMEOUT_S, answers, end_with_parent, users_api_url
from storage.errors import ServerFault, UserMistake
from storage.home import Home
from tasks.tracking_server import address, artifacts, configured

POOL = "starloop"
"""The work pool that prefect.yaml names."""
FOLDER = Path(__file__).resolve().parents[1]
"""Where prefect.yaml is, and where deployments run."""
PREFECT_PORT, MLFLOW_PORT = 4200, 5000


class Station:
    """Started part by part; `stop` ends what was started, the worker first."""

    def __init__(self, home: Home, *, prefect_port: int = PREFECT_PORT, mlflow_port: int = MLFLOW_PORT) -> None:
        self._home = home
        self._ports = {"prefect": prefect_port, "mlflow": mlflow_port}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.prefect_url = ""
        self.mlflow_url = ""

    def start_prefect(self) -> bool:
        """A server with pages and a scheduler, unless one answers; whether one was started. Raises for one of another version."""
        url = users_api_url() or f"http://127.0.0.1:{self._ports['prefect']}/api"
        self.prefect_url = url
        os.environ["PREFECT_API_URL"] = url
        if answers(url):
            check_version(url)
            return False
        if users_api_url() and not _is_ours(url, self._ports["prefect"]):
            raise ServerFault(
                f"the Prefect server at {url} does not answer; start it, or unset PREFECT_API_URL to have one started"
            )
        self._free("prefect", "Prefect's server")
        command = ["server", "start", "--host", "127.0.0.1", "--port", str(self._ports["prefect"])]
        self._start("prefect-server", [sys.executable, "-P", "-m", "prefect", *command])
        self._until("prefect-server", lambda: answers(url), "Prefect's server")
        return True

    def start_mlflow(self) -> bool:
        """MLflow's pages over the home's own store; with MLFLOW_TRACKING_URI set, that server's are used."""
        if (uri := configured()) and uri.startswith("http"):
            self.mlflow_url = uri
            return False
        self._free("mlflow", "MLflow")
        self.mlflow_url = f"http://127.0.0.1:{self._ports['mlflow']}"
        self._start(
            "mlflow-server",
            [sys.executable, "-P", "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._ports["mlflow"]),
             "--backend-store-uri", address(self._home.root), "--artifacts-destination", artifacts(self._home.root),
             "--workers", "1"],
        )  # fmt: skip
        self._until("mlflow-server", lambda: _opens(f"{self.mlflow_url}/health"), "MLflow")
        return True

    def deploy(self, at_once: int) -> None:
        """The work pool, with how many runs it carries out at a time, and every deployment of prefect.yaml."""
        pool = ["work-pool", "create", POOL, "--type", "process", "--overwrite"]
        self._prefect(*pool)
        self._prefect("work-pool", "set-concurrency-limit", POOL, str(at_once))
        self._prefect("--no-prompt", "deploy", "--all")

    def start_worker(self) -> None:
        """Carries out what is scheduled, with this home."""
        environment = {"STARLOOP_HOME": str(self._home.root)}
        if self.mlflow_url:
            environment["STARLOOP_MLFLOW_UI"] = self.mlflow_url
        command = [
            sys.executable,
            "-P",
            "-m",
            "prefect",
            "worker",
            "start",
            "--pool",
            POOL,
            "--name",
            f"starloop-{os.getpid()}",
        ]
        self._start("worker", command, environment)

    def wait(self) -> None:
        """Until one of them ends, which none should: raises ServerFault with where its log is."""
        while True:
            for name, process in self._processes.items():
                if (code := process.poll()) is not None:
                    raise ServerFault(f"the {name} ended with code {code}; its log is {self.log(name)}")
            time.sleep(0.5)

    def stop(self) -> None:
        """The worker is told first, so that a run under way is cancelled while its server still answers."""
        for process in reversed(self._processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self._processes.clear()

    def log(self, name: str) -> Path:
        """Where a part writes."""
        return self._home.logs / f"{name}.log"

    def _start(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.log(name).parent.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=FOLDER, env={**os.environ, **(environment or {})},
                preexec_fn=end_with_parent if sys.platform == "linux" else None,
            )  # fmt: skip

    def _prefect(self, *arguments: str) -> None:
        command = [sys.executable, "-P", "-m", "prefect", *arguments]
        done = subprocess.run(command, cwd=FOLDER, env=os.environ, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise ServerFault(f"`prefect {' '.join(arguments)}` failed: {said[-1] if said else 'it said nothing'}")

    def _until(self, name: str, ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + STARTUP_TIMEOUT_S
        while time.monotonic() < deadline:
            if (code := self._processes[name].poll()) is not None:
                raise ServerFault(f"{what} ended with code {code} while starting; its log is {self.log(name)}")
            if ready():
                return
            time.sleep(0.2)
        raise ServerFault(f"{what} did not answer within {STARTUP_TIMEOUT_S:.0f} s; its log is {self.log(name)}")

    def _free(self, which: str, what: str) -> None:
        """Raises UserMistake where something else listens."""
        port = self._ports[which]
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise UserMistake(
                    f"{what} cannot have port {port}, where something else listens; end that, or give another with --{which}-port"
                ) from error


def check_version(url: str) -> None:
    """Raises UserMistake where the server is of an older minor version than this checkout's Prefect: it would not know what it is asked."""
    with urllib.request.urlopen(f"{url.rstrip('/')}/admin/version", timeout=10) as response:
        theirs = str(json.load(response))
    ours = version("prefect")
    if _minor(theirs) < _minor(ours):
        raise UserMistake(
            f"the Prefect server at {url} is {theirs}, this checkout talks to {ours}; upgrade the server, or unset PREFECT_API_URL to "
            "have one started"
        )


def _minor(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+")[0].split(".")[:2] if part.isdigit())


def _opens(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


def _is_ours(url: str, port: int) -> bool:
    return url.rstrip("/") == f"http://127.0.0.1:{port}/api"
