"""Our end of the judge's sockets: questions about tokens to a container that holds a model, with bounded patience."""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract import MAX_PAYLOAD_BYTES, Cause, Malformed, receive, send
from trainer.harness.outside.listener import LOOK_SECONDS, listen, readable

Logits = NDArray[np.float32]

ANSWER_SECONDS = 120.0  # for one question
ALL_ANSWERS_SECONDS = 1800.0  # for all questions to one container
LOW_PRECISION = ("bfloat16", "float16")
MAX_DETAIL = 500


class AskerFailed(Exception):
    """A model did not answer as it should; `cause` says how, and is the variant's own fault."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail[:MAX_DETAIL]


@dataclass(frozen=True)
class Counted:
    """What a container says of one training step; nothing is sure of it.

    FLOPs per token of a forward and backward pass, the number of parameters, and whether anything in the forward pass
    was computed in less than float32.
    """

    flops_per_token: float | None = None
    parameters: int | None = None
    low_precision: bool = False


class JudgeServer:
    """Listens at `socket` for the one judge container that belongs to it."""

    def __init__(self, socket: Path) -> None:
        self._path = socket
        self._listening = listen(socket)
        self._asker: Asker | None = None

    def accept(self, timeout: float, *, alive: Callable[[], bool] = lambda: True) -> "Asker":
        """The container, with nothing of the genome in it yet; AskerFailed(LOAD_FAILED) when `alive` says that it is
        gone, or after `timeout` seconds. It may have connected long ago."""
        deadline = time.monotonic() + timeout
        while not readable(self._listening, LOOK_SECONDS):
            if time.monotonic() > deadline:
                raise AskerFailed(Cause.LOAD_FAILED, f"did not start within {timeout:.0f} seconds")
            if not alive() and not readable(self._listening, 0.0):
                raise AskerFailed(Cause.LOAD_FAILED, "ended before the model was loaded")
        connection, _ = self._listening.accept()
        self._listening.close()  # one connection, and no second
        self._asker = Asker(connection, seconds=ANSWER_SECONDS)
        return self._asker

    def wait_connected(self, timeout: float, *, alive: Callable[[], bool] = lambda: True) -> "Asker":
        """`accept`, and the model loaded; AskerFailed(LOAD_FAILED) when it cannot be."""
        deadline = time.monotonic() + timeout
        asker = self.accept(timeout, alive=alive)
        asker.load()
        asker.wait_loaded(max(deadline - time.monotonic(), 0.1))
        return asker

    def close(self) -> None:
        """Hang up; the judge container ends by itself."""
        self._listening.close()
        if self._asker is not None:
            self._asker.close()
        self._path.unlink(missing_ok=True)


class Asker:
    """A model in a container: token windows go in, logits come out.

    `tokens` counts what went in, `seconds` how long the answers took together.
    """

    def __init__(
        self, connection: socket.socket, *, seconds: float, all_seconds: float = ALL_ANSWERS_SECONDS
    ) -> None:
        self.low_precision = False
        self.tokens = 0
        self.seconds = 0.0
        self._connection = connection
        self._seconds = seconds
        self._all_seconds = all_seconds

    def load(self) -> None:
        """Tell it to import the genome and to load the weights, which are there now."""
        with _loading():
            self._send({"op": "load"})

    def load_first(self, seconds: float) -> None:
        """Tell it to load the weights a check began with instead, and wait; AskerFailed(LOAD_FAILED) when it cannot."""
        with _loading():
            self._send({"op": "load", "first": True})
        self.wait_loaded(seconds)

    def wait_loaded(self, seconds: float) -> None:
        """Return when the model is loaded; AskerFailed(LOAD_FAILED) when it is not."""
        with _loading():
            answer, _ = self._receive(seconds, limit=0)
        if answer.get("op") != "loaded":
            raise AskerFailed(Cause.LOAD_FAILED, str(answer.get("error", "the model was not loaded")))

    def logits(
        self, tokens: NDArray[np.uint16], *, start: int = 0, stop: int | None = None, quick: bool = False
    ) -> Logits:
        """The logits for `tokens` [B, T] at the positions `start` … `stop` (T): float32 [B, stop − start, V'].

        `quick` lets a GPU compute as trainings do there, in bfloat16. AskerFailed when there is no answer in time, or
        not one of that shape; the numbers are not looked at.
        """
        rows, width = tokens.shape
        stop = width if stop is None else stop
        question = {"op": "logits", "shape": [rows, width], "start": start, "stop": stop, "quick": quick}
        answer, payload = self._answer(question, tokens.astype("<u2").tobytes(), limit=MAX_PAYLOAD_BYTES)
        self.tokens += tokens.size
        shape, wanted = answer.get("shape"), [rows, stop - start]
        if not isinstance(shape, list) or len(shape) != 3 or shape[:2] != wanted or not _natural(shape[2]):
            raise AskerFailed(Cause.BAD_LOGITS, f"logits of shape {shape} where [{rows}, {wanted[1]}, V] was asked for")
        if len(payload) != 4 * math.prod(shape):
            raise AskerFailed(Cause.BAD_LOGITS, "as many bytes as the shape says did not come")
        if not quick:
            self.low_precision = self.low_precision or answer.get("dtype") in LOW_PRECISION
        return np.frombuffer(payload, dtype="<f4").reshape(shape)

    def flops(self, context: int) -> Counted:
        """What one training step costs at `context` tokens; AskerFailed when it could not be counted."""
        answer, _ = self._answer({"op": "flops", "shape": [1, context]}, limit=0)
        flops, parameters = answer.get("flops_per_token"), answer.get("parameters")
        if not isinstance(flops, int | float) or not 0 < flops < 1e18:
            raise AskerFailed(Cause.BAD_LOGITS, "its FLOPs could not be counted")
        return Counted(
            flops_per_token=float(flops),
            parameters=parameters if _natural(parameters) else None,
            low_precision=answer.get("low_precision") is True,
        )

    def close(self) -> None:
        """Hang up, also on an answer that another thread waits for."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _answer(
        self, question: Mapping[str, Any], payload: bytes = b"", *, limit: int
    ) -> tuple[dict[str, Any], bytearray]:
        began = time.monotonic()
        if self.seconds > self._all_seconds:
            raise AskerFailed(Cause.OUT_OF_TIME, f"its answers took more than {self._all_seconds:.0f} seconds together")
        try:
            self._send(question, payload)
            return self._receive(self._seconds, limit=limit)
        finally:
            self.seconds += time.monotonic() - began

    def _send(self, header: Mapping[str, Any], payload: bytes = b"") -> None:
        with self._patience(self._seconds):
            send(self._connection, header, payload)

    def _receive(self, seconds: float, *, limit: int) -> tuple[dict[str, Any], bytearray]:
        with self._patience(seconds):
            answer, payload = receive(self._connection, limit=limit)
        if "error" in answer and answer.get("op") != "loaded":
            raise AskerFailed(Cause.BAD_LOGITS, str(answer["error"]))
        return answer, payload

    @contextlib.contextmanager
    def _patience(self, seconds: float) -> Iterator[None]:
        """Hang up after `seconds`: a timeout of the socket alone would begin again with every byte."""
        over = threading.Event()

        def hang_up() -> None:
            over.set()
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, hang_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        except Malformed as error:
            raise AskerFailed(Cause.BAD_LOGITS, str(error)) from error
        except OSError as error:
            if over.is_set():
                raise AskerFailed(Cause.OUT_OF_TIME, f"took longer than {seconds:.0f} seconds to answer") from error
            raise AskerFailed(Cause.BAD_LOGITS, "ended in the middle of being judged") from error
        finally:
            timer.cancel()


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    try:
        yield
    except AskerFailed as failure:
        raise AskerFailed(Cause.LOAD_FAILED, f"while loading its model: {failure.detail}") from failure


def _natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 48
