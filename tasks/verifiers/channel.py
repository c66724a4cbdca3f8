"""Messages between processes that share no memory: JSON, four bytes of length before each."""

import json
import socket
from typing import Any

MOST_BYTES = 32 * 2**20


class Closed(Exception):
    """The other side is gone, or says what cannot be read."""


class Channel:
    """One end. `receive` gives back whatever JSON holds; nothing of it is believed."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, message: object) -> None:
        """Raises Closed if nobody listens any more."""
        data = json.dumps(message).encode()
        if len(data) > MOST_BYTES:
            raise Closed(f"a value of {len(data):,} bytes is too large to be looked at")
        try:
            self._end.sendall(len(data).to_bytes(4, "big") + data)
        except OSError:
            raise Closed("it is gone") from None

    def receive(self) -> Any:
        """The next message; raises Closed when there is none, TimeoutError if the socket has a limit and it is over."""
        length = int.from_bytes(self._exactly(4), "big")
        if length > MOST_BYTES:
            raise Closed(f"it answered with {length:,} bytes")
        data = self._exactly(length)
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise Closed("its answer cannot be read") from None

    def close(self) -> None:
        self._end.close()

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                part = self._end.recv(min(count - len(data), 2**20))
            except TimeoutError:
                raise
            except OSError:
                part = b""
            if not part:
                raise Closed("it is gone")
            data += part
        return bytes(data)
