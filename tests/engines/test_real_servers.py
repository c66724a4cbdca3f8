"""The engine against two servers that people run: `transformers serve`, and llama.cpp's. Both are started here on free loopback ports."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from storage.errors import UserMistake
from storage.identity import digest
from tasks.engines.protocol import LENGTH, STOP, Request, Response, Sampling
from tasks.engines.registry import open_engine
from tests.engines.tiny_models import make_folder, make_gguf

SERVING = all(find_spec(name) for name in ("gguf", "openai", "xllamacpp"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SERVING, reason="needs the extra `servers`: pip install 'starloop[servers]'"),
]

LLAMA_CPP = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.hostnames = sys.argv[1], int(sys.argv[2]), ["127.0.0.1"]
params.n_ctx, params.n_parallel, params.warmup = 1024, 4, False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
sys.stdin.read()
"""
"""llama.cpp's server, until its standard input ends."""

PROMPTS = [f"{n}+{n}=" for n in range(8)]


def requests(*prompts: str, sample: int = 0) -> list[Request]:
    return [Request(digest("request", prompt, sample), prompt) for prompt in prompts]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


class Running:
    """A server in a process of its own, stopped by closing its input or else by a signal."""

    def __init__(self, command: list[str], port: int, ready: str, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self._ready = f"http://127.0.0.1:{port}{ready}"
        self._log = log
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(log.parent), "OMP_NUM_THREADS": "1"}
        with log.open("wb") as written:
            self._process = subprocess.Popen(
                [sys.executable, "-P", *command], stdin=subprocess.PIPE, stdout=written, stderr=written, env=environment
            )

    def wait(self) -> None:
        until = time.monotonic() + 120
        while time.monotonic() < until and self._process.poll() is None:
            try:
                with urllib.request.urlopen(self._ready, timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"the server did not start: {self._log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("served") / "model")


@pytest.fixture(scope="module")
def serving(folder: Path) -> Iterator[Running]:
    port = free_port()
    command = ["-m", "transformers.cli.transformers", "serve", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    running = Running([*command, "--device", "cpu"], port, "/health", folder.parent / "serve.log")
    try:
        running.wait()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def llama_cpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place, port = tmp_path_factory.mktemp("llama"), free_port()
    model = make_gguf(place / "tiny.gguf")
    running = Running(["-c", LLAMA_CPP, str(model), str(port)], port, "/health", place / "server.log")
    try:
        running.wait()
        yield running
    finally:
        running.stop()


def texts(ref: str, model: Path | None, asked: list[Request], sampling: Sampling) -> list[Response]:
    """Responses in the order of the requests."""
    engine = open_engine(ref, model)
    try:
        found = {one.request_id: one for one in engine.generate(asked, sampling)}
    finally:
        engine.close()
    return [found[one.request_id] for one in asked]


def end_of(response: Response, sampling: Sampling) -> str:
    """How `transformers serve` tells it: a text that ends with the last token it may have is one that was cut."""
    return LENGTH if response.tokens == sampling.max_tokens and not sampling.stop else response.finish_reason


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_transformers_serve_writes_what_our_own_engine_does(endpoint: str, serving: Running, folder: Path):
    """Greedily, so that nothing of either's randomness matters: same texts, ends and counts. Special tokens it leaves out."""
    engine = open_engine(f"openai:{serving.url}?endpoint={endpoint}&concurrency=3", folder)
    assert engine.name == f"openai transformers {endpoint} {folder} at {serving.url}"
    engine.close()
    for sampling in (Sampling(0.0, 24), Sampling(0.0, 24, stop=("7", "+="))):
        asked = requests(*PROMPTS)
        theirs = texts(f"openai:{serving.url}?endpoint={endpoint}&concurrency=3", folder, asked, sampling)
        ours = texts("transformers", folder, asked, sampling)
        assert [(one.text, one.finish_reason, one.error) for one in theirs] == [
            (one.text.replace("<unk>", ""), end_of(one, sampling), None) for one in ours
        ]
        assert len({one.text for one in theirs}) > 4
        if not sampling.stop:
            assert [(one.prompt_tokens, one.tokens) for one in theirs] == [
                (one.prompt_tokens, one.tokens) for one in ours
            ]


def test_transformers_serve_draws_though_its_model_is_configured_not_to(serving: Running, folder: Path):
    asked = [one for sample in range(6) for one in requests("12+34=", sample=sample)]
    ref = f"openai:{serving.url}?endpoint=completions&concurrency=1"
    drawn = texts(ref, folder, asked, Sampling(1.0, 24))
    assert len({one.text for one in drawn}) == 6
    assert texts(ref, folder, asked, Sampling(1.0, 24)) == drawn, "each by its seed, one at a time"
    assert max(one.tokens or 0 for one in drawn) > 3, "nor does it stop where the model's configuration says"
    (greedy,) = texts(ref, folder, asked[:1], Sampling(0.0, 24))
    assert {one.text for one in texts(ref, folder, asked, Sampling(1.0, 24, top_k=1))} == {greedy.text}


def test_transformers_serve_refuses_another_model(serving: Running):
    with pytest.raises(UserMistake, match="Server is pinned"):
        texts(f"openai:{serving.url}?model=another/model", None, requests("1+1="), Sampling(0.0, 4))


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_llama_cpp_draws_by_seed_from_all_tokens(endpoint: str, llama_cpp: Running):
    ref = f"openai:{llama_cpp.url}?model=tiny&endpoint={endpoint}&concurrency=4"
    engine = open_engine(ref)
    assert engine.name == f"openai llama.cpp {endpoint} tiny at {llama_cpp.url}"
    engine.close()
    asked = [one for sample in range(6) for one in requests("12+34=", sample=sample)]
    drawn = texts(ref, None, asked, Sampling(1.0, 24))
    assert len({one.text for one in drawn}) == 6
    assert [one.text for one in texts(ref, None, asked, Sampling(1.0, 24))] == [one.text for one in drawn]
    assert {(one.prompt_tokens, one.error) for one in drawn} == {(6, None)}
    assert {one.finish_reason for one in drawn} <= {STOP, LENGTH}
    assert all(one.tokens == 24 for one in drawn if one.finish_reason == LENGTH)
    (greedy,) = texts(ref, None, asked[:1], Sampling(0.0, 24))
    assert {one.text for one in texts(ref, None, asked, Sampling(1.0, 24, top_k=1))} == {greedy.text}


def test_llama_cpp_stops_at_stop_strings(llama_cpp: Running):
    ref = f"openai:{llama_cpp.url}?model=tiny&endpoint=completions"
    (whole,) = texts(ref, None, requests("12+34="), Sampling(0.0, 24))
    cut = next(character for character in whole.text[3:] if character.isascii())
    (stopped,) = texts(ref, None, requests("12+34="), Sampling(0.0, 24, stop=(cut,)))
    assert (stopped.text, stopped.finish_reason) == (whole.text[: whole.text.index(cut)], STOP)


def test_a_prompt_that_llama_cpp_has_no_room_for_is_final(llama_cpp: Running):
    ref = f"openai:{llama_cpp.url}?model=tiny&endpoint=completions"
    long, short = texts(ref, None, requests("1" * 2000, "1+1="), Sampling(0.0, 4))
    assert (long.finish_reason, long.final) == ("failed", True)
    assert "context" in str(long.error)
    assert short.error is None
