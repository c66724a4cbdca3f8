"""A registered model behind `transformers serve`, started as a person starts it; an adapter is put into its base first."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from flows.progress import SilentListener
from flows.serving import NEEDS, Served, command, served
from storage.errors import UserMistake
from storage.home import Home

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("addition-smoke@champion", "has no alias 'champion'; it has: candidate"),
        ("addition-smoke/9", "has no version 9; it has: 1, 2, 3"),
        ("addition-smoke", "has no alias 'champion'"),
        ("another@champion", "MLflow has no model 'another'"),
        ("@champion", "names no registered model; write NAME@champion"),
    ],
)
@pytest.mark.slow
def test_what_is_not_there_is_one_sentence(small_run, warm, monkeypatch, named, said):
    monkeypatch.setenv("STARLOOP_WARM", warm)
    with pytest.raises(UserMistake, match=said):
        served(Home(small_run[0]), SilentListener(), named)


@pytest.mark.skipif(not all(map(find_spec, NEEDS)), reason="needs the extra `servers`: pip install 'starloop[servers]'")
def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserMistake, match=f"port {port} cannot be had .*; name another with --port"):
            command(Served("m", 1, None, tmp_path), port)


@pytest.mark.slow
@pytest.mark.skipif(not all(map(find_spec, NEEDS)), reason="needs the extra `servers`: pip install 'starloop[servers]'")
def test_a_registered_model_answers_over_http_as_it_was_recorded(small_run, warm, tmp_path):
    from storage.lineage import Lineage

    home = shutil.copytree(small_run[0], tmp_path / "home")
    port = free_port()
    words = [
        sys.executable,
        "-P",
        "-m",
        "flows.cli.main",
        "serve-model",
        "addition-smoke@candidate",
        "--port",
        str(port),
    ]
    settings = os.environ | {
        "STARLOOP_HOME": str(home),
        "STARLOOP_WARM": warm,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log, env=settings, cwd=ROOT)
    try:
        until = time.monotonic() + 180
        while True:
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < until, (tmp_path / "log").read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        said = " ".join((tmp_path / "log").read_text().split())
        assert "addition-smoke version 3 (ckp_" in said
        assert f"at http://127.0.0.1:{port}/v1" in said
        with Lineage.open(Home(home), fresh=True) as lineage:
            prompt, answer = lineage.rows(
                "select p.text, a.text from evaluation e join evaluation_item i using (evaluation_id) join attempt a using (attempt_id) "
                "join prompt p using (prompt_id) where e.split = 'test' and e.checkpoint_id = ? order by i.problem_id limit 1",
                [small_run[1]["iterations"][-1]["checkpoint_id"]],
            )[0]
        folder = said.split('"model": "')[1].split('"')[0]
        body = {"model": folder, "prompt": prompt, "max_tokens": 40, "temperature": 0}
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=60) as response:
            assert json.load(response)["choices"][0]["text"] == answer
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=30)
