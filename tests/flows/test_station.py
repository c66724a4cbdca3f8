"""What one machine needs for runs from a browser: a real Prefect server, a real work pool, and every deployment of prefect.yaml."""

import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from flows.methods import FLOWS
from flows.server import free_port
from flows.station import POOL, Station, check_version
from storage.errors import ServerFault, UserMistake
from storage.home import Home

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def station(tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    made = Station(Home.open(tmp_path / "home"), prefect_port=free_port(), mlflow_port=free_port())
    yield made
    made.stop()


def test_every_flow_has_a_deployment():
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    entrypoints = {one["entrypoint"] for one in deployments}
    assert {where.replace(":", ".") for where in FLOWS.values()} == entrypoints
    assert all(one["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"} for one in deployments)
    assert all(one["work_pool"] == {"name": POOL} for one in deployments)


def test_a_taken_port_is_said(station):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        other = Station(station._home, prefect_port=port, mlflow_port=port)
        with pytest.raises(UserMistake, match=f"Prefect's server cannot have port {port}.*--prefect-port"):
            other.start_prefect()
        with pytest.raises(UserMistake, match=f"MLflow cannot have port {port}.*--mlflow-port"):
            other.start_mlflow()


def test_a_server_that_was_named_and_does_not_answer_is_not_replaced(station, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    with pytest.raises(ServerFault, match="does not answer; start it, or unset PREFECT_API_URL"):
        station.start_prefect()


@pytest.mark.parametrize(("theirs", "fits"), [("3.7.9", False), ("2.20.0", False), ("3.8.0", True), ("3.9.1", True)])
def test_an_older_server_is_refused(theirs, fits):
    class Version(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(theirs).encode())

        def log_message(self, *words):
            del words

    server = ThreadingHTTPServer(("127.0.0.1", 0), Version)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/api"
    try:
        if fits:
            check_version(url)
        else:
            with pytest.raises(
                UserMistake, match=rf"is {theirs}, this checkout talks to 3\.8\.\d+; upgrade the server"
            ):
                check_version(url)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
def test_a_server_a_pool_and_all_deployments_are_there_and_gone_again(station):
    assert station.start_prefect()
    station.deploy(at_once=2)
    assert os.environ["PREFECT_API_URL"] == station.prefect_url
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings(updates={PREFECT_API_URL: station.prefect_url}), get_client(sync_client=True) as client:
        names = {one.name for one in client.read_deployments()}
        assert names == {one["name"] for one in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
        assert client.read_work_pool(POOL).concurrency_limit == 2
    again = Station(station._home, prefect_port=station._ports["prefect"])
    assert not again.start_prefect()
    station.stop()
    assert not station._processes
