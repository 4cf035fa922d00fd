"""Our end of the judge's sockets: questions about tokens to a container that holds a model, with bounded patience."""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract import MAX_PAYLOAD_BYTES, Cause, Malformed, receive, send
from trainer.harness.outside.listener import LOOK_SECONDS, listen, readable

Logits = NDArray[np.float32]

ANSWER_SECONDS = 120.0  # for one question
MAX_DETAIL = 500


class AskerFailed(Exception):
    """A model did not answer as it should; `cause` says how, and is the variant's own fault."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail[:MAX_DETAIL]


class JudgeServer:
    """Listens at `socket` for the one judge container that belongs to it."""

    def __init__(self, socket: Path) -> None:
        self._path = socket
        self._listening = listen(socket)
        self._asker: Asker | None = None

    def wait_connected(self, timeout: float, *, alive: Callable[[], bool] = lambda: True) -> "Asker":
        """The model once it is loaded; AskerFailed(LOAD_FAILED) when it cannot be, when `alive` says that the
        container is gone, or after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not readable(self._listening, LOOK_SECONDS):
            if time.monotonic() > deadline:
                raise AskerFailed(Cause.LOAD_FAILED, f"did not start within {timeout:.0f} seconds")
            if not alive() and not readable(self._listening, 0.0):
                raise AskerFailed(Cause.LOAD_FAILED, "ended before the model was loaded")
        connection, _ = self._listening.accept()
        self._listening.close()  # one connection, and no second
        self._asker = Asker(connection)
        self._asker.wait_loaded(max(deadline - time.monotonic(), 0.1))
        return self._asker

    def close(self) -> None:
        """Hang up; the judge container ends by itself."""
        self._listening.close()
        if self._asker is not None:
            self._asker.close()
        self._path.unlink(missing_ok=True)


class Asker:
    """A loaded model in a container: token windows go in, logits come out."""

    def __init__(self, connection: socket.socket, *, seconds: float = ANSWER_SECONDS) -> None:
        self._connection = connection
        self._seconds = seconds

    def wait_loaded(self, seconds: float) -> None:
        """Return when the model is loaded; AskerFailed(LOAD_FAILED) when it is not."""
        try:
            answer, _ = self._receive(seconds, limit=0)
        except AskerFailed as failure:
            raise AskerFailed(Cause.LOAD_FAILED, f"while loading its model: {failure.detail}") from failure
        if answer.get("op") != "loaded":
            raise AskerFailed(Cause.LOAD_FAILED, str(answer.get("error", "the model was not loaded")))

    def logits(self, tokens: NDArray[np.uint16], *, last: bool = False) -> Logits:
        """The logits for `tokens` [B, T]: float32 [B, T, V'], or [B, 1, V'] for the `last` position alone.

        AskerFailed when there is no answer in time, or not one of that shape; the numbers are not looked at.
        """
        rows, width = tokens.shape
        self._send({"op": "logits", "shape": [rows, width], "last": last}, tokens.astype("<u2").tobytes())
        answer, payload = self._receive(self._seconds, limit=MAX_PAYLOAD_BYTES)
        shape = answer.get("shape")
        positions = 1 if last else width
        if not isinstance(shape, list) or len(shape) != 3 or shape[:2] != [rows, positions] or not _natural(shape[2]):
            raise AskerFailed(Cause.BAD_LOGITS, f"logits of shape {shape} where [{rows}, {positions}, V] was asked for")
        if len(payload) != 4 * math.prod(shape):
            raise AskerFailed(Cause.BAD_LOGITS, "as many bytes as the shape says did not come")
        return np.frombuffer(payload, dtype="<f4").reshape(shape)

    def flops(self, context: int) -> tuple[float, int]:
        """FLOPs per token of one forward and backward pass at `context` tokens, and the number of parameters."""
        self._send({"op": "flops", "shape": [1, context]})
        answer, _ = self._receive(self._seconds, limit=0)
        flops, parameters = answer.get("flops_per_token"), answer.get("parameters")
        if not isinstance(flops, int | float) or not 0 <= flops < 1e18 or not _natural(parameters):
            raise AskerFailed(Cause.BAD_LOGITS, "the FLOPs of the model could not be counted")
        return float(flops), int(parameters or 0)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.close()

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


def _natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 48
