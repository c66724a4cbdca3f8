import json
import threading
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from storage.errors import EngineFault, UserMistake
from storage.identity import digest
from tasks.engines.protocol import Request, Response, Sampling
from tasks.engines.worker import Batch, Close, Done, Fault, Generate, Open, Opened, in_batches, serve

pytestmark = pytest.mark.slow


@pytest.fixture
def connection() -> Iterator["Connection[object, object]"]:
    ours, theirs = Pipe()
    thread = threading.Thread(target=serve, args=(theirs,))
    thread.start()
    yield ours
    ours.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    theirs.close()


def answers(connection: "Connection[object, object]", asked: Generate) -> list[Response]:
    connection.send(asked)
    responses: list[Response] = []
    while isinstance(message := connection.recv(), Batch):
        responses += message.responses
    assert message == Done()
    return responses


def test_it_opens_generates_and_closes(connection: "Connection[object, object]", tmp_path: Path):
    (tmp_path / "answers.json").write_text(json.dumps({"*": "hello"}))
    connection.send(Open(f"scripted:{tmp_path / 'answers.json'}", None))
    opened = connection.recv()
    assert isinstance(opened, Opened)
    assert opened.name == "scripted"
    requests = [Request(digest(number), "?") for number in range(1000)]
    responses = answers(connection, Generate(requests, Sampling(0, 9)))
    assert [response.request_id for response in responses] == [request.request_id for request in requests]
    connection.send(Close())
    assert connection.recv() == Done()


def test_a_mistake_comes_back_as_one_and_the_process_goes_on(connection: "Connection[object, object]", tmp_path: Path):
    connection.send(Generate([], Sampling(0, 9)))
    fault = connection.recv()
    assert isinstance(fault, Fault)
    assert isinstance(fault.error(), EngineFault)
    connection.send(Open("transformers", tmp_path))
    fault = connection.recv()
    assert isinstance(fault, Fault)
    assert isinstance(fault.error(), UserMistake)
    assert "config.json" in fault.sentence
    (tmp_path / "answers.json").write_text(json.dumps({"*": "hello"}))
    connection.send(Open(f"scripted:{tmp_path / 'answers.json'}", None))
    assert isinstance(connection.recv(), Opened)


def test_responses_are_sent_on_before_all_are_there():
    responses = (Response(digest(number), "", "stop", 1, 1) for number in range(600))
    assert [len(batch) for batch in in_batches(responses)] == [256, 256, 88]
