"""A real HTTP server on a free loopback port that answers chat requests as a test says, faults included, and remembers what it was asked.

    with MisbehavingServer(lambda asked: says("4") if asked.times > 1 else status(500)) as server: ...

What is said is decided for each request from its prompt and how often that was asked before.
"""

import contextlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Asked:
    """One request as it came in. `times`: how often its prompt has been asked, this time included; `at`: seconds of a clock."""

    prompt: str
    times: int
    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    at: float = field(default_factory=time.monotonic)


Doing = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Listener"

    def do_GET(self) -> None:
        if self.path.endswith("/models"):
            self.server.told.models(self)
        else:
            send(404, b"{}")(self)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        self.server.told.take(prompt, self, body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    told: "MisbehavingServer"

    def __init__(self, *arguments: Any) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news here."""


class MisbehavingServer:
    """Does with every request what `does` says; `asked` is all of them in order, `most` how many were under way at a time at most."""

    def __init__(self, does: Callable[[Asked], Doing], models: Doing | None = None, port: int = 0) -> None:
        self._does = does
        self.models = models or send(200, b'{"object": "list", "data": [{"id": "m", "owned_by": "somebody"}]}')
        self.asked: list[Asked] = []
        self.most = 0
        self.closing = threading.Event()
        self._under_way = 0
        self._times: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._listener = Listener(("127.0.0.1", port), Handler)
        self._listener.told = self
        self.port = self._listener.server_address[1]
        self._thread = threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def take(self, prompt: str, handler: Handler, body: dict[str, Any]) -> None:
        with self._lock:
            self._times[prompt] += 1
            asked = Asked(prompt, self._times[prompt], handler.path, body, dict(handler.headers))
            self.asked.append(asked)
            self._under_way += 1
            self.most = max(self.most, self._under_way)
        try:
            self._does(asked)(handler)
        finally:
            with self._lock:
                self._under_way -= 1

    def times(self, prompt: str) -> int:
        """How often a prompt was asked."""
        return self._times[prompt]

    def stop(self) -> None:
        """No longer there: connections are refused from now on."""
        self.closing.set()
        self._listener.shutdown()
        self._listener.server_close()
        for connection in list(self._listener.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.closing.is_set():
            self.stop()


def says(text: str | None, finish: str | None = "stop", usage: object = "counted", **message: object) -> Doing:
    """An answer as it should be, or nearly."""

    def do(handler: Handler) -> None:
        chat = handler.path.endswith("/chat/completions")
        choice = {"message": {"role": "assistant", "content": text, **message}} if chat else {"text": text}
        counted = {"prompt_tokens": 7, "completion_tokens": 3} if usage == "counted" else usage
        answer = {"choices": [{"index": 0, "finish_reason": finish, **choice}], "usage": counted}
        send(200, json.dumps(answer).encode())(handler)

    return do


def send(status: int, content: bytes, **headers: str) -> Doing:
    """Any whole answer. Headers are written with underscores."""

    def do(handler: Handler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return do


def status(number: int, said: str = "no", code: str | None = None, **headers: str) -> Doing:
    """An error as OpenAI writes it."""
    return send(number, json.dumps({"error": {"message": said, "code": code}}).encode(), **headers)


def cut_off(handler: Handler) -> None:
    """Half of an answer, and the connection is closed."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"message": {"content": "4')
    handler.close_connection = True


def half_a_stream(handler: Handler) -> None:
    """A chunked answer that never ends properly."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b'20\r\n{"choices": [{"message": {"conte')
    handler.close_connection = True


def reset(handler: Handler) -> None:
    """The connection is torn down."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def hangs(handler: Handler) -> None:
    """Nothing, until the server stops."""
    handler.server.told.closing.wait(30)
    handler.close_connection = True


def later(seconds: float, doing: Doing) -> Doing:
    """Something, after a while."""

    def do(handler: Handler) -> None:
        handler.server.told.closing.wait(seconds)
        doing(handler)

    return do
