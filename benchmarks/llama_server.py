"""llama.cpp's own server on the same GGUF file: what a person without a GPU would use in place of all this.

It takes one request a text over HTTP, writes as many side by side as it has slots, and keeps each slot's last prompt. Its weights stay in four
bits, so its texts are another model's. The package xllamacpp carries it.
"""

import importlib.util
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

MISSING = "not installed: pip install xllamacpp"
SERVER = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.hostnames = sys.argv[1], int(sys.argv[2]), ["127.0.0.1"]
params.n_parallel, params.n_ctx = int(sys.argv[3]), int(sys.argv[4])
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(sys.argv[5])
server = xllamacpp.Server(params)
sys.stdin.read()
"""
"""Until its standard input ends."""
SLOTS = 8
CONTEXT = 1024
"""Tokens a slot: the longest prompt and what is written after it."""
START_S = 60


def tokens_per_second(
    file: Path, prompts: Sequence[str], samples: int, most: int, temperature: float, threads: int, folder: Path
) -> float | None:
    """Tokens written a second for `samples` texts of each prompt; None where there is no such server."""
    if importlib.util.find_spec("xllamacpp") is None:
        return None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = f"http://127.0.0.1:{port}"
    with (folder / "llama-server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(file), str(port), str(SLOTS), str(SLOTS * CONTEXT), str(threads)],
            stdin=subprocess.PIPE, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            _await(where, server)
            how = {
                "n_predict": most,
                "temperature": temperature,
                "top_k": 0,
                "top_p": 1.0,
                "min_p": 0.0,
                "repeat_penalty": 1.0,
            }

            def write(number: int) -> int:
                asked = how | {"prompt": prompts[number // samples], "seed": number, "cache_prompt": True}
                return int(_post(f"{where}/completion", asked)["tokens_predicted"])

            _post(f"{where}/completion", how | {"prompt": prompts[0], "n_predict": 4})
            began = time.perf_counter()
            with ThreadPoolExecutor(SLOTS) as pool:
                written = sum(pool.map(write, range(len(prompts) * samples)))
            return written / (time.perf_counter() - began)
        finally:
            server.terminate()
            server.wait()


def _await(where: str, server: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{where}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"llama.cpp's server did not answer within {START_S} s")


def _post(url: str, asked: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(asked).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.loads(answer.read())
