"""Unix sockets for hostile clients: any path length, one thread per connection, few connections, bounded waits."""

import contextlib
import logging
import os
import select
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer.contract import Closed, Malformed, receive, send

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 8
MESSAGE_SECONDS = 30.0  # for the rest of a message once its first byte came, and for a reply to be taken
LOOK_SECONDS = 0.1  # between two looks at whether to stop

Message = tuple[Mapping[str, Any], bytearray]


def listen(path: Path) -> socket.socket:
    """A listening Unix socket at `path`, which may be longer than the 107 bytes that an address holds."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        listening.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    path.chmod(0o666)  # an unprivileged user in a container connects to it
    listening.listen(128)
    return listening


def readable(connection: socket.socket, seconds: float) -> bool:
    """Whether something can be read from, or accepted on, `connection` within that time."""
    poll = select.poll()  # select() takes no file descriptor above 1,023
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Connection:
    """One client's messages. `stopped` ends a wait."""

    def __init__(self, connection: socket.socket, *, limit: int, stopped: threading.Event) -> None:
        self._connection = connection
        self._limit = limit
        self._stopped = stopped
        connection.settimeout(MESSAGE_SECONDS)

    def receive(self) -> Message:
        """The next message, however long it takes to begin; Closed when stopped."""
        while not readable(self._connection, LOOK_SECONDS):
            if self._stopped.is_set():
                raise Closed("the server stops")
        return receive(self._connection, limit=self._limit)

    def send(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        send(self._connection, header, payload)


class Listener:
    """Serves connections to `path` with `serve`, each on a daemon thread, until `stop`."""

    def __init__(
        self, path: Path, serve: Callable[[Connection], None], *, limit: int, idle: Callable[[], None],
        places: int = MAX_CONNECTIONS,
    ) -> None:
        self._path = path
        self._serve = serve
        self._limit = limit
        self._idle = idle  # called a few times a second
        self._stopped = threading.Event()
        self._places = threading.BoundedSemaphore(places)
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        listening = listen(self._path)
        thread = threading.Thread(target=self._accept, args=(listening,), name="text server", daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Close the socket; returns when no thread serves any more, or after a second."""
        self._stopped.set()
        for thread in list(self._threads):
            thread.join(timeout=1.0)
        self._path.unlink(missing_ok=True)

    def _accept(self, listening: socket.socket) -> None:
        with listening:
            while not self._stopped.is_set():
                self._idle()
                if not readable(listening, LOOK_SECONDS):
                    continue
                connection, _ = listening.accept()
                if not self._places.acquire(blocking=False):
                    connection.close()
                    continue
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                thread = threading.Thread(target=self._one, args=(connection,), name="text client", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _one(self, connection: socket.socket) -> None:
        try:
            with contextlib.closing(connection):
                self._serve(Connection(connection, limit=self._limit, stopped=self._stopped))
        except (Closed, Malformed, OSError) as error:
            log.debug("a connection to %s ended: %s", self._path, error)
        finally:
            self._places.release()
