"""The line to the server outside: one request, one reply, and patience when the server is started again."""

import contextlib
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.contract import Malformed, receive, send

PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 0.2


class Line:
    """A connection to the Unix socket `path` that comes back by itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: socket.socket | None = None

    def ask(self, header: Mapping[str, Any], payload: bytes | memoryview = b"") -> tuple[dict[str, Any], bytearray]:
        """Send a request and wait for its reply, again on a new connection when this one breaks.

        Every request may be repeated: the server counts none twice. ConnectionError after two minutes without a server.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                connection = self._connected()
                send(connection, header, payload)
                return receive(connection)
            except OSError as error:
                self.close()
                if isinstance(error, Malformed) or time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE_SECONDS)

    def tell(self, header: Mapping[str, Any]) -> None:
        """Send what needs no reply; lost when the server is away."""
        try:
            send(self._connected(), header)
        except OSError:
            self.close()

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None

    def _connected(self) -> socket.socket:
        if self._connection is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(str(self._path))
            except OSError:
                connection.close()
                raise
            self._connection = connection
        return self._connection
