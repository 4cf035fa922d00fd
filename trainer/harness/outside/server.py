"""The text server: owns the text, the stream, the token count and the clock of one training.

What asks is variant code, so nothing it says is believed: a request that is not exactly one of those below closes the
connection, and changes nothing. Requests (JSON headers) and their replies:

    {op: hello, rank}                    {device, seed, vocab_size, rank, world, budget_tokens, progress, number, save,
                                         state}
    {op: batch, number, shape: [B, T], rank}
                                         {progress} and x, y as uint16; {progress, end: true} after the budget;
                                         {wait: true} while the slowest rank is too far behind; {error}
    {op: validation, index, shape}       {} and x, y; {end: true} after the slice
    {op: warmup}                         {}
    {op: report, step, loss, numbers}    nothing
    {op: save, save, file, size, offset} and a chunk of the file: {} or {error}
    {op: save_state, state, number, file, size, offset}
                                         and a chunk of the file: {} or {error}
    {op: rehearsed, passed, detail, seconds}   {}, in a check, once
    {op: save_first, file, size, offset} and a chunk of the file, in a check: {} or {error}
    {op: load_state, file, offset}       {size} and a chunk of the file; {none: true} without a saved state
    {op: done}, {op: failed, error, traceback}   {} once the runner has read the clocks of the container
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.contract import CONFIG_FILE, FIRST, MODEL_FILE, SAVE_SECONDS, Closed, Malformed
from trainer.harness.outside import state
from trainer.harness.outside.checkpoint import BadCheckpoint, Uploads
from trainer.harness.outside.listener import MAX_CONNECTIONS, Connection, Listener
from trainer.harness.outside.reports import Report, Reports, clean
from trainer.harness.outside.state import Mark, Opened, Phase, Rehearsal, Saved
from trainer.harness.outside.stream import Stream

__all__ = ["Budget", "Progress", "Report", "TextServer"]

Tokens = NDArray[np.uint16]

WARM_SECONDS = 120.0  # of run.warmup before the clock starts by itself
ACKNOWLEDGE_SECONDS = 10.0
MAX_BATCH_TOKENS = 1 << 22
MAX_REQUEST_BYTES = 8 << 20  # a chunk of a checkpoint
CHUNK_BYTES = 4 << 20  # of a saved state, on its way back
AHEAD = 4  # batches that one rank may be before another
MAX_ERROR, MAX_TRACEBACK = 500, 4096
MAX_REHEARSAL_SECONDS = 3600.0


@dataclass(frozen=True)
class Budget:
    """What a training may use; it ends with the first that is used up. `batches` is for checks, which end early but are
    told the full budget in tokens: after so many, or after `check_seconds` once `few` and `steady` more were served."""

    tokens: int | None
    seconds: float | None = None
    batches: int | None = None
    few: int = 8
    steady: int = 4  # what the pace is read from, at least
    check_seconds: float = 20.0


@dataclass(frozen=True)
class Progress:
    """What the server knows of a training. All seconds are on our clock, and stand still while no server runs.

    `seconds` goes from the first text (a batch, or a look at validation text) to the end of the budget (or of the
    training); `saved_seconds` from the first text to the last complete save; `held_seconds` from the start of the first
    server to now; `warm_seconds` from the first run.warmup to the first text. `_at` is seconds since 1970.

    In a check `few` is where it was after its first few batches, `steady_tokens` and `steady_device_seconds` are what
    it used from there to the last, and `rehearsal` how it did on fake tensors.
    """

    phase: Phase
    tokens: int
    batches: int
    fraction: float  # of the budget, 0 … 1
    seconds: float
    warm_seconds: float
    held_seconds: float
    setup_device_seconds: float | None  # what `watch_device` read when the first text was served
    carried_device_seconds: float  # of earlier containers, from the first text to the state this one goes on from
    greeted_at: float | None
    started_at: float | None
    ended_at: float | None
    done_at: float | None
    last_request_at: float | None
    saved: bool
    saved_seconds: float | None
    refused: str  # why its last save was refused, empty when it was not
    error: str
    traceback: str
    few: Mark | None = None
    steady_tokens: int | None = None
    steady_device_seconds: float | None = None
    rehearsal: Rehearsal | None = None


class TextServer:
    """Serves one training over the Unix socket `socket`; a later one on the same `folder` continues exactly.

    `folder` receives state.json, model.safetensors and config.json. `on_report` is called on a thread of the server
    and should return quickly.
    """

    def __init__(
        self,
        *,
        socket: Path,
        folder: Path,
        stream: Stream,
        validation: Tokens,
        vocab_size: int,
        budget: Budget,
        seed: int,
        device: str,
        max_checkpoint_bytes: int,
        on_report: Callable[[Report], None],
        world: int = 1,
    ) -> None:
        self._folder = folder
        self._stream = stream
        self._validation = validation
        self._budget = budget
        self._hello = {
            "device": device, "seed": seed, "vocab_size": vocab_size, "world": world,
            "budget_tokens": budget.tokens,
        }
        self._world = world
        self._lock = threading.RLock()
        self._state = state.read(folder)
        self._device_seconds: Callable[[], float] = lambda: 0.0
        self._clock: float | None = None  # monotonic, when this server's part of `seconds` began
        self._held: float | None = None  # monotonic, likewise for `held_seconds`
        self._warm: float | None = None  # monotonic, likewise for the warm-up
        self._uploads = Uploads(folder, max_bytes=max_checkpoint_bytes)
        self._max_bytes = max_checkpoint_bytes
        self._reports = Reports(on_report)
        self._broken: Exception | None = None
        self._over = threading.Event()
        self._acknowledged = threading.Event()
        self._listener = Listener(
            socket, self._serve, limit=MAX_REQUEST_BYTES, idle=self._reports.flush, places=MAX_CONNECTIONS + world - 1
        )
        self._verbs: dict[str, Verb] = {
            "hello": self._greet, "batch": self._batch, "validation": self._look, "warmup": self._warm_up,
            "save": self._save, "save_state": self._save_state, "load_state": self._load_state,
            "done": self._done, "failed": self._failed,
        }
        if budget.batches is not None:
            self._verbs.update(rehearsed=self._rehearsed, save_first=self._save_first)

    def start(self) -> None:
        """Listen, on threads of its own."""
        with self._lock:
            self._held = time.monotonic()
            self._clock = self._held if self._state.phase == "training" else None
            self._warm = self._held if self._state.phase == "warming" else None
        self._listener.start()

    def stop(self) -> None:
        """Stop serving; the state stays, and whoever was connected waits for the next server."""
        self._listener.stop()
        self._reports.flush()
        with self._lock:
            self._remember()
            self._held = None

    def rewind(self) -> bool:
        """Begin where the last state was saved, for a new container after one that was lost; False when none was.

        To be called before `start`.
        """
        with self._lock:
            if self._state.saved is None:
                return False
            self._state = state.rewound(self._state)
            self._remember()
            return True

    def watch_device(self, seconds: Callable[[], float]) -> None:
        """Where to read the device seconds the container has used so far, at the moment the first text is served."""
        self._device_seconds = seconds

    def wait_over(self, timeout: float) -> None:
        """Return when the client has said done or failed, or after `timeout` seconds."""
        self._over.wait(timeout)

    def acknowledge(self) -> None:
        """Let a client that said done or failed go; the clocks of its container have been read."""
        self._acknowledged.set()

    def progress(self) -> Progress:
        """How far it is; raises what kept the server from writing its state or a checkpoint, or reading a clock."""
        with self._lock:
            if self._broken is not None:
                raise self._broken
            now = self._state
            few, last = now.few, now.last
            return Progress(
                phase=now.phase,
                tokens=now.tokens,
                batches=now.batches,
                fraction=self._fraction(with_batches=True),
                seconds=self._seconds(),
                warm_seconds=self._warmed(),
                held_seconds=self._held_so_far(),
                setup_device_seconds=now.setup_device_seconds,
                carried_device_seconds=now.carried_device_seconds,
                greeted_at=now.greeted_at,
                started_at=now.started_at,
                ended_at=now.ended_at,
                done_at=now.done_at,
                last_request_at=now.last_request_at,
                saved=now.save >= 0 and all((self._folder / name).is_file() for name in (MODEL_FILE, CONFIG_FILE)),
                saved_seconds=now.saved_seconds,
                refused=now.refused,
                error=now.error,
                traceback=now.traceback,
                few=now.few,
                steady_tokens=last.tokens - few.tokens if few and last else None,
                steady_device_seconds=last.device_seconds - few.device_seconds if few and last else None,
                rehearsal=now.rehearsal,
            )

    # --- one connection ---------------------------------------------------------------------------------------------

    def _serve(self, connection: Connection) -> None:
        while True:
            message, payload = connection.receive()
            if message.get("op") == "report":
                self._report(message)
                continue
            verb = self._verbs.get(str(message.get("op")))
            if verb is None:
                raise Malformed("a request without a known op")
            reply, data = self._answer(verb, message, payload)
            if message["op"] in ("done", "failed"):
                self._reports.flush()
                self._acknowledged.wait(ACKNOWLEDGE_SECONDS)
            connection.send(reply, data)

    def _answer(self, verb: "Verb", message: Mapping[str, Any], payload: bytearray) -> "Reply":
        with self._lock:
            try:
                reply = verb(message, payload)
                self._remember()
            except Malformed:
                raise
            except Exception as error:  # our disk, or our engine: the runner learns of it by progress()
                self._broken = error
                raise Closed("the server is broken") from error
        return reply

    def _remember(self) -> None:
        self._state.seconds, self._state.warm_seconds = self._seconds(), self._warmed()
        self._state.held_seconds = self._held_so_far()
        now = time.monotonic()
        self._held = now if self._held is not None else None
        self._clock = now if self._clock is not None else None
        self._warm = now if self._warm is not None else None
        state.write(self._folder, self._state)

    def _greet(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        self._state.greeted_at = self._state.greeted_at or time.time()
        rank = self._rank(message)
        told = {
            "rank": rank, "progress": self._fraction(), "number": self._last(rank),
            "save": self._state.save, "state": self._state.saved.save if self._state.saved else -1,
        }
        return {**self._hello, **told}, b""

    def _rank(self, message: Mapping[str, Any]) -> int:
        rank = _natural({"rank": 0, **message}, "rank")
        if rank >= self._world:
            raise Malformed("no such rank")
        return rank

    # --- text -------------------------------------------------------------------------------------------------------

    def _batch(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        shape, number, rank = _shape(message), _natural(message, "number"), self._rank(message)
        now = self._state
        if now.phase in ("done", "failed"):
            raise Malformed("a batch was asked for after the end")
        batch = next((one for one in now.opened if one.number == number), None)
        if batch is None and number != now.number + 1:
            raise Malformed("a batch out of order")
        if batch is None:
            self._start_clock()
            over = now.phase == "saving" or self._used_up(shape)
            if self._budget.batches is not None and (over or now.batches == self._budget.few):
                self._mark()
            if over:
                return self._end()
            if number - min(map(self._last, range(self._world))) > AHEAD:
                return {"wait": True}, b""
            batch = self._open(number, shape)
        if batch.shape != shape:
            return {"error": f"batch {number} is {list(batch.shape)}, and one shape for all ranks"}, b""
        now.taken[str(rank)] = max(number, now.taken.get(str(rank), -1))
        count = shape[0] * shape[1]
        x, y = self._stream.read(batch.start + rank * count, count)
        return {"progress": batch.progress}, x.tobytes() + y.tobytes()

    def _open(self, number: int, shape: tuple[int, int]) -> Opened:
        """The next global batch: `shape` for each rank, one after the other in the stream."""
        now = self._state
        start, now.number = now.tokens, number
        now.tokens += self._world * shape[0] * shape[1]
        now.batches += 1
        now.last_request_at = time.time()
        now.opened.append(Opened(number=number, start=start, shape=shape, progress=self._fraction()))
        # A single process asks again only for the batch whose answer it may have lost.
        del now.opened[: -(AHEAD + 1) if self._world > 1 else -1]
        return now.opened[-1]

    def _last(self, rank: int) -> int:
        """The last batch of `rank`; a training that goes on from a saved state begins with equal ranks."""
        began = self._state.saved.number if self._state.resumed and self._state.saved else -1
        return self._state.taken.get(str(rank), began)

    def _used_up(self, shape: tuple[int, int]) -> bool:
        tokens, seconds, batches = self._budget.tokens, self._budget.seconds, self._budget.batches
        return (
            (tokens is not None and self._state.tokens + self._world * shape[0] * shape[1] > tokens)
            or (seconds is not None and self._seconds() >= seconds)
            or (batches is not None and (self._state.batches >= batches or self._has_checked_long()))
        )

    def _has_checked_long(self) -> bool:
        least = self._budget.few + self._budget.steady
        return self._state.batches >= least and self._seconds() >= self._budget.check_seconds

    def _mark(self) -> None:
        """Note where a check is when it asks for text after its first few batches, and after its last."""
        now = self._state
        if now.phase != "training" or now.batches < self._budget.few:
            return
        mark = Mark(tokens=now.tokens, seconds=self._seconds(), device_seconds=self._device_seconds())
        now.few, now.last = now.few or mark, mark

    def _end(self) -> "Reply":
        """The budget is used up: the clock stops, and what is left is time to save."""
        if self._state.phase != "saving":
            self._stop_clock()
            self._state.phase = "saving"
            self._state.ended_at = self._state.last_request_at = time.time()
        return {"progress": 1.0, "end": True}, b""

    def _look(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        (rows, width), index = _shape(message), _natural(message, "index")
        if self._state.phase in ("saving", "done", "failed"):
            return {"end": True}, b""
        self._start_clock()
        self._state.last_request_at = time.time()
        fitting = max((len(self._validation) - 1) // width, 0)
        if fitting == 0 or (index and (index + 1) * rows > fitting):
            return {"end": True}, b""
        # The first batch is always full, if need be by beginning again.
        begins = (np.arange(index * rows, (index + 1) * rows) % fitting)[:, None] * width
        places = begins + np.arange(width)
        x, y = self._validation[places], self._validation[places + 1]
        return {"progress": self._fraction()}, x.tobytes() + y.tobytes()

    # --- clocks -----------------------------------------------------------------------------------------------------

    def _warm_up(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        if self._state.phase in ("waiting", "warming"):
            self._state.phase = "warming"
            self._state.last_request_at = time.time()
            self._warm = self._warm if self._warm is not None else time.monotonic()
        return {}, b""

    def _start_clock(self) -> None:
        if self._clock is not None or self._state.phase in ("saving", "done", "failed"):
            return
        if self._state.phase in ("waiting", "warming"):
            self._state.setup_device_seconds = self._device_seconds()
            self._state.started_held_seconds = self._held_so_far()
            # Warming longer than allowed counts as training.
            self._state.warm_seconds = self._warmed()
            self._warm = None
            self._state.seconds += max(self._state.warm_seconds - WARM_SECONDS, 0.0)
            self._state.phase, self._state.started_at = "training", time.time()
        self._clock = time.monotonic()

    def _stop_clock(self) -> None:
        self._state.seconds = self._seconds()
        self._clock = None

    def _seconds(self) -> float:
        return self._state.seconds + (time.monotonic() - self._clock if self._clock is not None else 0.0)

    def _warmed(self) -> float:
        return self._state.warm_seconds + (time.monotonic() - self._warm if self._warm is not None else 0.0)

    def _held_so_far(self) -> float:
        return self._state.held_seconds + (time.monotonic() - self._held if self._held is not None else 0.0)

    def _fraction(self, *, with_batches: bool = False) -> float:
        """Of the budget. A variant's own schedule does not see that a smoke check ends after a few batches."""
        if self._state.phase == "saving":
            return 1.0
        parts = [(self._state.tokens, self._budget.tokens), (self._seconds(), self._budget.seconds)]
        if with_batches:
            parts.append((self._state.batches, self._budget.batches))
        return min(max((used / most for used, most in parts if most), default=0.0), 1.0)

    # --- what it says -----------------------------------------------------------------------------------------------

    def _report(self, message: Mapping[str, Any]) -> None:
        with self._lock:
            tokens, seconds = self._state.tokens, self._seconds()
        try:
            self._reports.add(clean(message, tokens=tokens, seconds=seconds))
        except ValueError as error:
            raise Malformed(str(error)) from error

    def _save(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        number, size, offset = (_natural(message, key) for key in ("save", "size", "offset"))
        name, now = message.get("file"), self._state
        if not isinstance(name, str) or now.phase in ("done", "failed"):
            raise Malformed("a save that is none")
        if number <= now.save:
            return {}, b""  # asked again because our answer was lost
        if now.ended_at is not None and time.time() - now.ended_at > SAVE_SECONDS:
            return {"error": f"the {SAVE_SECONDS:.0f} seconds for saving are over"}, b""
        now.last_request_at = time.time()
        try:
            complete = self._uploads.write(name, payload, offset=offset, size=size)
        except BadCheckpoint as error:
            now.refused = str(error)
            return {"error": str(error)}, b""
        if complete:
            now.save, now.refused = number, ""
            since = self._held_so_far() - now.started_held_seconds
            now.saved_seconds = now.carried_seconds + since if now.started_at else None
        return {}, b""

    def _rehearsed(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        passed, seconds = message.get("passed"), message.get("seconds")
        if not isinstance(seconds, int | float) or not 0 <= seconds < MAX_REHEARSAL_SECONDS:
            raise Malformed("a rehearsal that is none")
        if self._state.rehearsal is None and not self._state.batches:
            detail = str(message.get("detail", ""))[:MAX_ERROR]
            self._state.rehearsal = Rehearsal(passed if passed in (True, False) else None, detail, float(seconds))
        return {}, b""

    def _save_first(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        size, offset, name = _natural(message, "size"), _natural(message, "offset"), message.get("file")
        if not isinstance(name, str):
            raise Malformed("a first save that is none")
        if self._state.batches:
            return {}, b""  # a second container of one check: the first weights are here
        folder = self._folder / FIRST
        folder.mkdir(exist_ok=True)
        try:
            Uploads(folder, max_bytes=self._max_bytes).write(name, payload, offset=offset, size=size)
        except BadCheckpoint as error:
            return {"error": str(error)}, b""
        return {}, b""

    def _save_state(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        save, size, offset = (_natural(message, key) for key in ("state", "size", "offset"))
        name, now = message.get("file"), self._state
        if not isinstance(name, str) or now.phase in ("done", "failed"):
            raise Malformed("a state that is none")
        last = now.saved.save if now.saved else -1
        if save <= last:
            return {}, b""  # asked again because our answer was lost
        if save > last + 1:  # else every number would be a folder of ours
            raise Malformed("a state out of order")
        batch = next((one for one in now.opened if one.number == message.get("number")), None)
        if batch is None:
            return {"error": "a state belongs to the last batch that was served here: take one before saving it"}, b""
        if now.ended_at is not None and time.time() - now.ended_at > SAVE_SECONDS:
            return {"error": f"the {SAVE_SECONDS:.0f} seconds for saving are over"}, b""
        now.last_request_at = time.time()
        folder = state.folder_of(self._folder, save)
        folder.mkdir(exist_ok=True)
        try:
            complete = Uploads(folder, max_bytes=self._max_bytes).write(name, payload, offset=offset, size=size)
        except BadCheckpoint as error:
            return {"error": str(error)}, b""
        if complete:
            self._keep_state(save, batch)
        return {}, b""

    def _keep_state(self, save: int, batch: Opened) -> None:
        now, before = self._state, self._state.saved
        used = self._device_seconds() - (now.setup_device_seconds or 0.0)
        now.saved = Saved(
            save=save, number=batch.number, tokens=batch.start + self._world * batch.shape[0] * batch.shape[1],
            seconds=self._seconds(), device_seconds=now.carried_device_seconds + used,
        )
        self._remember()  # before what it replaces is gone
        if before is not None:
            shutil.rmtree(state.folder_of(self._folder, before.save), ignore_errors=True)

    def _load_state(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        now, name, offset = self._state, message.get("file"), _natural(message, "offset")
        if name not in (MODEL_FILE, CONFIG_FILE):
            raise Malformed("no such file in a state")
        if not now.resumed or now.saved is None:
            return {"none": True}, b""
        with (state.folder_of(self._folder, now.saved.save) / name).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(offset)
            return {"size": size}, file.read(CHUNK_BYTES)

    def _done(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        if self._state.phase != "failed":
            self._stop_clock()
            self._state.phase = "done"
            self._state.done_at = self._state.last_request_at = time.time()
            self._over.set()
        return {}, b""

    def _failed(self, message: Mapping[str, Any], payload: bytearray) -> "Reply":
        if self._state.phase not in ("done", "failed"):
            self._stop_clock()
            self._state.phase = "failed"
            self._state.done_at = self._state.last_request_at = time.time()
            self._over.set()
            self._state.error = str(message.get("error", ""))[:MAX_ERROR]
            self._state.traceback = str(message.get("traceback", ""))[-MAX_TRACEBACK:]
        return {}, b""


Reply = tuple[dict[str, Any], bytes]
Verb = Callable[[Mapping[str, Any], bytearray], Reply]


def _natural(message: Mapping[str, Any], key: str) -> int:
    value = message.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 53:
        raise Malformed(f"{key} is not a whole number")
    return value


def _shape(message: Mapping[str, Any]) -> tuple[int, int]:
    value = message.get("shape")
    if not isinstance(value, list) or len(value) != 2:
        raise Malformed("shape is not [B, T]")
    rows, width = (_natural({"shape": one}, "shape") for one in value)
    if rows < 1 or width < 1 or rows * width > MAX_BATCH_TOKENS:
        raise Malformed(f"a batch has 1 to {MAX_BATCH_TOKENS:,} tokens")
    return rows, width
