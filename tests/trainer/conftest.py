"""A text to train on, text servers on short sockets, and clients that behave or don't."""

import contextlib
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.contract import receive, send
from trainer.harness.outside.server import Budget, Report, TextServer
from trainer.harness.outside.stream import Stream
from trainer.harness.outside.text import Text, prepare

ROOT = Path(__file__).resolve().parents[2]
GENOME = ROOT / "trainer" / "genome"
CONTEXT = 64

WORDS = [
    "variant", "trains", "small", "text", "judge", "reads", "never", "saw", "while", "agents", "propose", "patches",
    "to", "code", "that", "people", "accept", "or", "edit", "veto", "before", "any", "device", "runs", "it",
]


def sentences(seed: int, count: int) -> bytes:
    """Text with something to learn in it that hardly repeats itself."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        chosen = [WORDS[n] for n in rng.integers(len(WORDS), size=rng.integers(6, 12))]
        lines.append(" ".join(chosen) + f" {rng.integers(10**6)}.\n")
    return "".join(lines).encode()


@pytest.fixture(scope="session")
def text() -> Text:
    return prepare(sentences(1, 3000), vocabulary="bytes", context=CONTEXT)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a client to connect to a socket in it."""
    with tempfile.TemporaryDirectory(prefix="darwin-") as name:
        yield Path(name)


Serve = Callable[..., TextServer]


@pytest.fixture
def serve(folder: Path, text: Text) -> Iterator[Serve]:
    """Start a text server on `folder`; every server is stopped at the end."""
    servers: list[TextServer] = []

    def start(**changes: Any) -> TextServer:
        settings: dict[str, Any] = {
            "socket": folder / "harness.sock", "folder": folder, "stream": Stream(text.train, seed=7, segment=CONTEXT),
            "validation": text.validation, "vocab_size": text.vocab_size, "budget": Budget(tokens=100_000), "seed": 7,
            "device": "cpu", "max_checkpoint_bytes": 1 << 20, "on_report": lambda report: None,
        }
        server = TextServer(**{**settings, **changes})
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


class Client:
    """A client that sends exactly what a test wants."""

    def __init__(self, path: Path) -> None:
        self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.connection.connect(str(path))
        except OSError:
            self.connection.close()
            raise
        self.connection.settimeout(20)

    def ask(self, payload: bytes = b"", **header: Any) -> tuple[dict[str, Any], bytes]:
        send(self.connection, header, payload)
        answer, data = receive(self.connection)
        return answer, bytes(data)

    def batch(self, number: int, rows: int = 2, width: int = CONTEXT) -> tuple[dict[str, Any], bytes]:
        return self.ask(op="batch", number=number, shape=[rows, width])

    def is_hung_up(self) -> bool:
        """Whether the server closes the connection (waits for it)."""
        with contextlib.suppress(ConnectionError):
            return self.connection.recv(1) == b""
        return True


@pytest.fixture
def connect(folder: Path) -> Iterator[Callable[[], Client]]:
    clients: list[Client] = []

    def start() -> Client:
        clients.append(Client(folder / "harness.sock"))
        return clients[-1]

    yield start
    for client in clients:
        client.connection.close()


@pytest.fixture
def client(serve: Serve, connect: Callable[[], Client]) -> Client:
    """A client of a server with a budget of 100,000 tokens."""
    serve()
    return connect()


@pytest.fixture
def reports() -> list[Report]:
    return []
