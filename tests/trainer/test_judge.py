"""Our end of the judge's sockets against containers that answer, and that don't."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.contract import Cause, receive, send
from trainer.harness.outside.judge import Asker, AskerFailed, JudgeServer

TOKENS = np.arange(6, dtype=np.uint16).reshape(2, 3)
Model = Callable[[socket.socket], None]


@pytest.fixture
def server(folder: Path) -> Iterator[JudgeServer]:
    judge = JudgeServer(folder / "sockets" / "harness.sock")
    yield judge
    judge.close()


@pytest.fixture
def container(folder: Path) -> Iterator[Callable[[Model], None]]:
    """Run a function with a connection to the judge's socket, as a container would."""
    threads: list[threading.Thread] = []

    def start(model: Model) -> None:
        def run() -> None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.connect(str(folder / "sockets" / "harness.sock"))
                model(connection)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(5)


def load(connection: socket.socket) -> None:
    """What every container does first."""
    question, _ = receive(connection)
    assert question == {"op": "load"}
    send(connection, {"op": "loaded"})


def answering(header: dict[str, Any], payload: bytes = b"") -> Model:
    def model(connection: socket.socket) -> None:
        load(connection)
        receive(connection)
        send(connection, header, payload)

    return model


def test_logits_come_back_in_their_shape(server: JudgeServer, container: Callable[[Model], None]) -> None:
    def model(connection: socket.socket) -> None:
        load(connection)
        question, payload = receive(connection)
        assert question == {"op": "logits", "shape": [2, 3], "start": 0, "stop": 3, "quick": False}
        tokens = np.frombuffer(payload, dtype="<u2").reshape(2, 3)
        send(connection, {"shape": [2, 3, 4]}, np.repeat(tokens[..., None], 4, axis=2).astype("<f4").tobytes())

    container(model)
    found = server.wait_connected(10).logits(TOKENS)
    assert found.shape == (2, 3, 4)
    assert np.array_equal(found[..., 0], TOKENS)


@pytest.mark.parametrize(("header", "size"), [
    ({"shape": [2, 3]}, 24), ({"shape": [2, 2, 4]}, 64), ({"shape": [2, 3, 0]}, 0), ({"shape": [2, 3, -4]}, 96),
    ({"shape": [2, 3, 4]}, 95), ({"shape": [2, 3, 4]}, 0), ({"shape": "abc"}, 0), ({}, 0),
    ({"shape": [2, 3, True]}, 24), ({"shape": [2, 3, 1 << 60]}, 0), ({"error": "IndexError: no"}, 0),
])
def test_an_answer_of_the_wrong_shape_is_refused(
    server: JudgeServer, container: Callable[[Model], None], header: dict[str, Any], size: int
) -> None:
    container(answering(header, bytes(size)))
    with pytest.raises(AskerFailed) as failure:
        server.wait_connected(10).logits(TOKENS)
    assert failure.value.cause == Cause.BAD_LOGITS


@pytest.mark.parametrize("answer", [
    {}, {"flops_per_token": "1", "parameters": 1}, {"flops_per_token": -1, "parameters": 1},
    {"flops_per_token": 1e30, "parameters": 1}, {"flops_per_token": 0, "parameters": 1},
    {"flops_per_token": "nan", "parameters": 1}, {"flops_per_token": None, "parameters": 1},
])
def test_odd_counts_of_flops_are_refused(
    server: JudgeServer, container: Callable[[Model], None], answer: dict[str, Any]
) -> None:
    container(answering(answer))
    with pytest.raises(AskerFailed, match="FLOPs"):
        server.wait_connected(10).flops(64)


def test_a_model_that_cannot_be_loaded_says_why(server: JudgeServer, container: Callable[[Model], None]) -> None:
    def model(connection: socket.socket) -> None:
        receive(connection)
        send(connection, {"op": "failed", "error": "KeyError: 'width'"})

    container(model)
    with pytest.raises(AskerFailed, match="KeyError: 'width'") as failure:
        server.wait_connected(10)
    assert failure.value.cause == Cause.LOAD_FAILED


def test_a_container_that_never_comes_is_given_up(server: JudgeServer) -> None:
    with pytest.raises(AskerFailed, match="did not start") as failure:
        server.wait_connected(0.3)
    assert failure.value.cause == Cause.LOAD_FAILED


def test_a_container_that_is_gone_is_not_waited_for(server: JudgeServer) -> None:
    with pytest.raises(AskerFailed, match="ended before"):
        server.wait_connected(60, alive=lambda: False)


def test_a_container_that_ends_while_loading_is_load_failed(
    server: JudgeServer, container: Callable[[Model], None]
) -> None:
    container(lambda connection: None)
    with pytest.raises(AskerFailed) as failure:
        server.wait_connected(10)
    assert failure.value.cause == Cause.LOAD_FAILED


def test_bytes_that_trickle_do_not_stretch_the_time() -> None:
    ours, theirs = socket.socketpair()
    stopped = threading.Event()

    def trickle() -> None:
        while not stopped.is_set():
            try:
                theirs.send(b"\x00")
            except OSError:
                return
            time.sleep(0.05)

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    with pytest.raises(AskerFailed) as failure:
        Asker(ours, seconds=0.3).logits(TOKENS)
    assert failure.value.cause == Cause.OUT_OF_TIME
    stopped.set()
    thread.join(5)
    ours.close()
    theirs.close()


def test_a_giant_answer_is_refused(server: JudgeServer, container: Callable[[Model], None]) -> None:
    def model(connection: socket.socket) -> None:
        load(connection)
        receive(connection)
        connection.sendall((2).to_bytes(4, "big") + (1 << 50).to_bytes(8, "big") + b"{}")

    container(model)
    with pytest.raises(AskerFailed, match="larger than allowed"):
        server.wait_connected(10).logits(TOKENS)
