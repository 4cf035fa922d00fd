"""The server of a trainer that owns its loop: starts its clock, reads its lines, ends it, and takes its checkpoint.

It serves no text: the container has a copy of the training text. What the trainer prints is claimed and nothing more;
the budget is device time, which the runner reads from outside. Requests (JSON headers) and their replies:

    {op: hello}                  {command: [word], checkpoint: name of the file in the output directory}
    {op: started}                {} and the clock runs
    {op: lines, lines: [text]}   {stop}: asked a few times a second, with what was printed since
    {op: save, size, offset}     and a chunk of the checkpoint: {} or {error}
    {op: done}, {op: failed, error, traceback}   {} once the runner has read the clocks of the container
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.adapters.base import Adapter
from trainer.contract import SAVE_SECONDS, Closed, Malformed
from trainer.harness.outside import state
from trainer.harness.outside.archive import Archive
from trainer.harness.outside.checkpoint import BadCheckpoint
from trainer.harness.outside.listener import Connection, Listener
from trainer.harness.outside.reports import Report, Reports, clean
from trainer.harness.outside.server import Progress

ACKNOWLEDGE_SECONDS = 10.0
LOOK_SECONDS = 0.5  # between two looks at the container's clock
MAX_REQUEST_BYTES = 8 << 20
MAX_LINES, MAX_LINE = 200, 400  # of one request
MAX_ERROR, MAX_TRACEBACK = 500, 4096


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run, and what it may use: `tokens` as it claims them, `seconds` of device time as we measure it."""

    words: tuple[str, ...]
    adapter: Adapter
    tokens_per_iteration: int
    tokens: int | None
    seconds: float | None


class CommandServer:
    """Runs one training over the Unix socket `socket`, with the surface of TextServer; a later one on the same
    `folder` continues it. `folder` receives state.json and the checkpoint; `on_report` is called on its threads."""

    def __init__(
        self, *, socket: Path, folder: Path, command: Command, max_checkpoint_bytes: int,
        on_report: Callable[[Report], None],
    ) -> None:
        self._folder = folder
        self._command = command
        self._lock = threading.RLock()
        self._state = state.read(folder)
        self._archive = Archive(folder, command.adapter.checkpoint, max_bytes=max_checkpoint_bytes)
        self._reports = Reports(on_report)
        self._device_seconds: Callable[[], float] = lambda: 0.0
        self._used = 0.0  # device seconds since the start, when we last looked
        self._looked = 0.0  # monotonic
        self._broken: Exception | None = None
        self._over = threading.Event()
        self._acknowledged = threading.Event()
        self._listener = Listener(socket, self._serve, limit=MAX_REQUEST_BYTES, idle=self._reports.flush)
        self._verbs: dict[str, Verb] = {
            "hello": self._greet, "started": self._start, "lines": self._lines, "save": self._save,
            "done": self._done, "failed": self._failed,
        }

    def start(self) -> None:
        """Listen, on threads of its own."""
        self._listener.start()

    def stop(self) -> None:
        """Stop serving; the command runs on, and what started it waits for the next server."""
        self._listener.stop()
        self._reports.flush()
        with self._lock:
            state.write(self._folder, self._state)

    def rewind(self) -> bool:
        """Whether a new container could go on where a lost one was: a command starts at its beginning."""
        return False

    def watch_device(self, seconds: Callable[[], float]) -> None:
        """Where to read the device seconds the container has used so far."""
        self._device_seconds = seconds

    def wait_over(self, timeout: float) -> None:
        """Return when the command is over, or after `timeout` seconds."""
        self._over.wait(timeout)

    def acknowledge(self) -> None:
        """Let a container that said done or failed go; its clocks have been read."""
        self._acknowledged.set()

    def progress(self) -> Progress:
        """How far it is; `tokens` are claimed. Raises what kept the server from writing or from reading a clock."""
        with self._lock:
            if self._broken is not None:
                raise self._broken
            now = self._state
            return Progress(
                phase=now.phase,
                tokens=now.tokens,
                batches=0 if now.started_at is None else 1,
                fraction=self._fraction(),
                seconds=self._seconds(),
                warm_seconds=0.0,
                held_seconds=self._seconds(),
                setup_device_seconds=now.setup_device_seconds,
                carried_device_seconds=0.0,
                greeted_at=now.greeted_at,
                started_at=now.started_at,
                ended_at=now.ended_at,
                done_at=now.done_at,
                last_request_at=now.last_request_at,
                saved=self._archive.path.is_file(),
                saved_seconds=now.saved_seconds,
                refused=now.refused,
                error=now.error,
                traceback=now.traceback,
            )

    # --- one connection ---------------------------------------------------------------------------------------------

    def _serve(self, connection: Connection) -> None:
        while True:
            message, payload = connection.receive()
            verb = self._verbs.get(str(message.get("op")))
            if verb is None:
                raise Malformed("a request without a known op")
            reply = self._answer(verb, message, payload)
            if message["op"] in ("done", "failed"):
                self._reports.flush()
                self._acknowledged.wait(ACKNOWLEDGE_SECONDS)
            connection.send(reply)

    def _answer(self, verb: "Verb", message: Mapping[str, Any], payload: bytearray) -> "Reply":
        with self._lock:
            try:
                reply = verb(message, payload)
                state.write(self._folder, self._state)
            except Malformed:
                raise
            except Exception as error:  # our disk, or our engine: the runner learns of it by progress()
                self._broken = error
                raise Closed("the server is broken") from error
        return reply

    def _greet(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        self._state.greeted_at = self._state.greeted_at or time.time()
        return {"command": list(self._command.words), "checkpoint": self._command.adapter.checkpoint}

    def _start(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        now = self._state
        if now.phase == "waiting":
            now.setup_device_seconds = self._device_seconds()
            now.phase, now.started_at = "training", time.time()
            now.last_request_at = now.started_at
        return {}

    # --- what it prints ---------------------------------------------------------------------------------------------

    def _lines(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        lines, now = message.get("lines"), self._state
        if not isinstance(lines, list):
            raise Malformed("lines is not a list")
        if now.phase != "training":
            return {"stop": now.phase == "saving"}
        if lines:
            now.last_request_at = time.time()
        self._read([line[:MAX_LINE] for line in lines[-MAX_LINES:] if isinstance(line, str)])
        self._look()
        if self._used_up():
            now.phase = "saving"
            now.ended_at = now.last_request_at = time.time()
        return {"stop": now.phase == "saving"}

    def _read(self, lines: list[str]) -> None:
        """One report for all of them: the last step, and the last of each number."""
        claims = [claim for claim in map(self._command.adapter.claimed, lines) if claim is not None]
        if not claims:
            return
        self._state.tokens = max(self._state.tokens, claims[-1].step * self._command.tokens_per_iteration)
        numbers = {name: value for claim in claims for name, value in claim.numbers.items()}
        message = {"step": claims[-1].step, "loss": claims[-1].loss, "numbers": numbers}
        self._reports.add(clean(message, tokens=self._state.tokens, seconds=self._seconds()))

    def _look(self) -> None:
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._looked = time.monotonic()
            self._used = self._device_seconds() - (self._state.setup_device_seconds or 0.0)

    def _used_up(self) -> bool:
        """By the container's clock, or because it says itself that it went on after its last iteration."""
        tokens, seconds = self._command.tokens, self._command.seconds
        return (tokens is not None and self._state.tokens > tokens) or (seconds is not None and self._used >= seconds)

    def _fraction(self) -> float:
        if self._state.phase in ("saving", "done"):
            return 1.0
        parts = (self._state.tokens, self._command.tokens), (self._used, self._command.seconds)
        return min(max((used / most for used, most in parts if most), default=0.0), 1.0)

    def _seconds(self) -> float:
        now = self._state
        if now.started_at is None:
            return 0.0
        return max((now.ended_at or now.done_at or time.time()) - now.started_at, 0.0)

    # --- its end ----------------------------------------------------------------------------------------------------

    def _save(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        size, offset, now = _natural(message, "size"), _natural(message, "offset"), self._state
        if now.phase in ("waiting", "done", "failed"):
            raise Malformed("a save that is none")
        if now.ended_at is not None and time.time() - now.ended_at > 2 * SAVE_SECONDS:
            return {"error": "the time for saving is over"}
        now.last_request_at = time.time()
        try:
            complete = self._archive.write(payload, offset=offset, size=size)
        except BadCheckpoint as error:
            now.refused = str(error)
            return {"error": str(error)}
        if complete:
            now.save, now.refused, now.saved_seconds = now.save + 1, "", self._seconds()
        return {}

    def _done(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        return self._end("done")

    def _failed(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        if self._state.phase not in ("done", "failed"):
            self._state.error = str(message.get("error", ""))[:MAX_ERROR]
            self._state.traceback = str(message.get("traceback", ""))[-MAX_TRACEBACK:]
        return self._end("failed")

    def _end(self, phase: state.Phase) -> "Reply":
        if self._state.phase not in ("done", "failed"):
            self._state.phase = phase
            self._state.done_at = self._state.last_request_at = time.time()
            self._over.set()
        return {}


Reply = dict[str, Any]
Verb = Callable[[Mapping[str, Any], bytearray], Reply]


def _natural(message: Mapping[str, Any], key: str) -> int:
    value = message.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise Malformed(f"{key} is not a whole number")
    return value
