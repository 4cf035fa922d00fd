"""The first half of a trial: one container trains on text that a server outside counts and times."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from sandbox import rungs
from sandbox.devices import gpu_memory_bytes
from sandbox.drivers.base import Box, Driver, Exit, SandboxError
from sandbox.models import AttemptState, Purpose
from sandbox.outcome import Outcome
from sandbox.servers import checkpoint_files, command_server, settle, training_job
from sandbox.trial import Order, Watcher, socket_of
from trainer.contract import SAVE_SECONDS, Cause
from trainer.harness.outside.command import CommandServer
from trainer.harness.outside.server import Budget, Progress, Report, TextServer
from trainer.harness.outside.stream import Stream

TICK_SECONDS = 0.1
START_SECONDS = 120.0  # from the container's start to the first text, without the time of run.warmup
IDLE_SECONDS = 300.0  # between two requests for text
EXIT_SECONDS = 10.0  # from the acknowledgement to the end of the process
GPU_LOOK_SECONDS = 2.0
CHECK_IDLE_SECONDS = 60.0  # between two requests for text, or before the first, in a check
STALLED_SECONDS = 15.0  # in a check: without a request and without using a processor
STALLED_CPU_SECONDS = 0.2  # in all that time: less is waiting
DEVICE_TIME_RATIO = 1.25  # device time a variant may use, against the baseline's, never its parent's
DEVICE_GRACE_SECONDS = 2.0  # the resolution of the cgroup's clock and of our looks at it
SETUP_GRACE_SECONDS = 2.0  # what imports may take longer on a busy machine
NEAR_END = 0.9  # of the budget
NEAR_END_SECONDS = 10.0  # likewise, in a long training


@dataclass(frozen=True)
class DeviceTime:
    """Device seconds of one training: of CPUs by the container's control group, of a GPU by the time it was held.

    `setup` is before the first text was served, `training` from there to the end of the process, and `excess` what the
    setup took beyond what it may: it counts as training, so that compute before the clock does not pay.
    """

    setup: float
    training: float
    excess: float

    @property
    def counted(self) -> float:
        return self.training + self.excess


def train(
    order: Order, driver: Driver, watch: Watcher, outcome: Outcome, *, near_end: Callable[[], None] | None = None
) -> bool:
    """Fill `outcome` with what the training did; True when there is a checkpoint to judge.

    `near_end` is called once, on this thread, when the training is nearly over: whoever comes next may prepare.
    """
    began = time.time()
    latest: dict[str, float | None] = {}

    def claimed(report: Report) -> None:
        latest.update({**report.numbers, "step": float(report.step)})
        if report.diverged or report.loss is not None:
            latest["loss"] = report.loss
        watch.report(report)

    serve = text_server if order.genome.command is None else command_server
    server = serve(order, claimed)
    adopted = driver.adopt(f"{order.name}-train")
    if adopted is None and server.progress().started_at is not None and not server.rewind():
        raise SandboxError("the container was lost in the middle of a training that saved no state")
    box = adopted or driver.start(training_job(order))
    started = time.time()
    container = _Container(order, box, server)
    try:
        # Nothing is served before its clock can be read; the client inside waits.
        server.watch_device(container.used)
        server.start()
        watch.phase(AttemptState.TRAINING, box.name)
        end = container.follow(watch, outcome, near_end or _nothing)
        over = time.time()
        progress, spent = server.progress(), container.spent()
        outcome.log_tail = box.log()
        outcome.exit_code = end.code if end else None
        memory = container.peak_memory_bytes()
    finally:
        server.stop()
        box.remove()
    outcome.claimed = latest
    outcome.progress = progress.fraction
    # To the last save: who fetches every batch first and trains afterwards is no faster for it.
    seconds = max(progress.seconds, progress.saved_seconds or 0.0)
    outcome.phases.update(_phases(progress, began=began, started=started, over=over))
    outcome.numbers.update(
        train_tokens=progress.tokens, train_seconds=seconds,
        device_seconds=spent.counted if progress.started_at is not None else None,
        setup_device_seconds=spent.setup, warm_seconds=progress.warm_seconds,
        tokens_per_second=progress.tokens / seconds if seconds > 0 else None,
        peak_memory_bytes=memory,
    )
    settle(order, outcome)
    if order.purpose == Purpose.CHECK:
        _enter_check(order, progress, outcome)
    if outcome.cause is None:
        _verdict_of_training(order, progress, end, latest, outcome)
    if outcome.cause is None and (slow := rungs.of_speed(outcome.numbers, order.baseline)):
        outcome.cause, outcome.detail = slow
    return outcome.cause is None


def _enter_check(order: Order, progress: Progress, outcome: Outcome) -> None:
    """What only a check finds out while it trains."""
    used, tokens, known = (
        progress.steady_device_seconds, progress.steady_tokens, order.baseline.steady_device_seconds_per_token
    )
    rate = used / tokens if used is not None and tokens else None
    outcome.numbers.update(
        batches=progress.batches if order.genome.command is None else None,
        few_seconds=progress.few.seconds if progress.few else None,
        steady_device_seconds=used, steady_tokens=tokens, steady_device_seconds_per_token=rate,
        steady_tokens_per_batch=tokens / (progress.batches - rungs.FEW_BATCHES) if tokens else None,
        steady_ratio=rate / known if rate is not None and known else None,
        rehearsal=asdict(progress.rehearsal) if progress.rehearsal else None,
    )


def _nothing() -> None:
    """Nobody prepares anything."""


def _phases(progress: Progress, *, began: float, started: float, over: float) -> dict[str, float]:
    """Seconds from `began` to now, by what they went into; what was never reached took none."""
    marks = {
        "start": started,  # the container
        "import": progress.greeted_at,
        "setup": progress.started_at,
        "train": progress.ended_at or progress.done_at or over,
        "save": progress.done_at or over,
        "end": time.time(),
    }
    phases, last = {}, began
    for name, mark in marks.items():
        until = max(mark or last, last)  # an adopted container was started long ago
        phases[name], last = until - last, until
    return phases


def text_server(order: Order, on_report: Callable[[Report], None]) -> TextServer:
    """What serves the text to the container `train` of `order`, and counts."""
    stream_seed = order.seed if order.stream_seed is None else order.stream_seed
    batches = rungs.BATCHES if order.purpose == Purpose.CHECK else None
    return TextServer(
        socket=socket_of(order, "train"),
        folder=order.folder,
        stream=Stream(order.text.train, seed=stream_seed, segment=order.genome.context),
        validation=order.text.validation,
        vocab_size=order.text.vocab_size,
        budget=Budget(tokens=order.budget_tokens, seconds=order.budget_seconds, batches=batches,
                      few=rungs.FEW_BATCHES, check_seconds=rungs.SECONDS),
        seed=order.seed,
        device=order.device,
        max_checkpoint_bytes=order.limits.out_bytes,
        on_report=on_report,
        world=order.genome.processes,
    )


@dataclass
class _Container:
    """A training while it runs."""

    order: Order
    box: Box
    server: TextServer | CommandServer
    acknowledged: float | None = None  # monotonic
    gpu_bytes: int | None = None  # the most that was seen
    looked_at_gpu: float = 0.0  # monotonic
    alive: tuple[float, float] = (0.0, 0.0)  # of a check: when it last did anything, and its CPU seconds then

    def follow(self, watch: Watcher, outcome: Outcome, near_end: Callable[[], None]) -> Exit | None:
        """Watch until it ended or had to be ended; how it ended."""
        began, told = time.monotonic(), False
        while True:
            end, progress, spent = self.box.poll(), self.server.progress(), self.spent()
            watch.tick(progress.fraction)
            self._look_at_gpu()
            if not told and _is_near_end(progress):
                told = True
                near_end()
            cause = _overspent(self.order, spent)
            if end is None and cause is None:
                cause = self._overdue(progress, time.monotonic() - began)
            if cause is not None:
                self.box.kill()
                if self.acknowledged is None or cause == Cause.DEVICE_TIME:
                    outcome.cause, outcome.detail = cause, _why(cause, self.order, spent, progress)
                return end or self.box.poll()
            if end is not None:
                return end
            self._pause(progress)

    def used(self) -> float:
        """Device seconds so far."""
        return self.box.usage().cpu_seconds if self.order.gpu is None else self.server.progress().held_seconds

    def spent(self) -> DeviceTime:
        used, progress, free = self.used(), self.server.progress(), free_setup(self.order)
        before = used if progress.setup_device_seconds is None else progress.setup_device_seconds
        return DeviceTime(
            setup=before,
            training=progress.carried_device_seconds + max(used - before, 0.0),
            excess=max(before - free, 0.0) if free is not None else 0.0,
        )

    def peak_memory_bytes(self) -> int | None:
        """Of the GPU as far as looks every few seconds saw it, else of the container's memory."""
        return self.box.usage().peak_memory_bytes if self.order.gpu is None else self.gpu_bytes

    def _look_at_gpu(self) -> None:
        if self.order.gpu is None or time.monotonic() - self.looked_at_gpu < GPU_LOOK_SECONDS:
            return
        self.looked_at_gpu = time.monotonic()
        self.gpu_bytes = max(self.gpu_bytes or 0, gpu_memory_bytes(self.order.gpu) or 0) or None

    def _pause(self, progress: Progress) -> None:
        if self.acknowledged is not None:
            time.sleep(TICK_SECONDS / 4)
        elif progress.phase in ("done", "failed"):
            self.server.acknowledge()
            self.acknowledged = time.monotonic()
        else:
            self.server.wait_over(TICK_SECONDS)

    def _overdue(self, progress: Progress, elapsed: float) -> Cause | None:
        """Which clock on the wall ran out, if any."""
        if self.acknowledged is not None:
            return Cause.OUT_OF_TIME if time.monotonic() - self.acknowledged > EXIT_SECONDS else None
        if elapsed > self.order.limits.wall_seconds:
            return Cause.OUT_OF_TIME
        check = self.order.purpose == Purpose.CHECK
        if check and progress.greeted_at is not None and self._stalled():
            return Cause.NO_PROGRESS
        if progress.started_at is None:
            allowed = CHECK_IDLE_SECONDS if check else START_SECONDS
            return Cause.NO_PROGRESS if elapsed - progress.warm_seconds > allowed else None
        silence = time.time() - (progress.last_request_at or progress.started_at)
        if progress.phase == "saving":
            return Cause.OUT_OF_TIME if silence > SAVE_SECONDS + 5 else None
        return Cause.NO_PROGRESS if silence > (CHECK_IDLE_SECONDS if check else IDLE_SECONDS) else None

    def _stalled(self) -> bool:
        """Whether it has waited for something that does not come: a deadlock uses no processor."""
        now, used = time.monotonic(), self.box.usage().cpu_seconds
        since, then = self.alive
        if since == 0.0 or used - then > STALLED_CPU_SECONDS:
            self.alive = (now, used)
        return now - self.alive[0] > STALLED_SECONDS


def _is_near_end(progress: Progress) -> bool:
    if progress.phase in ("saving", "done"):
        return True
    if progress.fraction < NEAR_END:
        return False
    return progress.seconds * (1 - progress.fraction) / progress.fraction < NEAR_END_SECONDS


def _overspent(order: Order, spent: DeviceTime) -> Cause | None:
    limit = device_limit(order)
    return Cause.DEVICE_TIME if limit is not None and spent.counted > limit + DEVICE_GRACE_SECONDS else None


def device_limit(order: Order) -> float | None:
    """The device seconds this training may use, from the first text it is served to the end of its process."""
    known = order.baseline.device_seconds
    return DEVICE_TIME_RATIO * known if known is not None else None


def free_setup(order: Order) -> float | None:
    """The device seconds before the first text that do not count as training."""
    known = order.baseline.setup_device_seconds
    return DEVICE_TIME_RATIO * known + SETUP_GRACE_SECONDS if known is not None else None


def _why(cause: Cause, order: Order, spent: DeviceTime, progress: Progress) -> str:
    return {
        Cause.DEVICE_TIME: _why_device_time(order, spent, progress),
        Cause.NO_PROGRESS: _why_no_progress(order, progress),
        Cause.OUT_OF_TIME: "was still running when its time was over",
    }.get(cause, "")


def _why_no_progress(order: Order, progress: Progress) -> str:
    if order.purpose != Purpose.CHECK:
        return "asked for no text in a long time"
    return f"hangs: it asked for no text in a long time, after {progress.batches} batches of a check"


def _why_device_time(order: Order, spent: DeviceTime, progress: Progress) -> str:
    limit, free = device_limit(order) or 0.0, free_setup(order) or 0.0
    where = "from its first text to the end of its budget"
    if progress.phase not in ("waiting", "warming", "training"):
        where = "from its first text to the end of its process, saving included"
    if spent.excess > 0:
        where = (
            f"{where}, with {spent.excess:.1f} of the {spent.setup:.1f} it used before its first text, where "
            f"{free:.1f} are free"
        )
    return f"used {spent.counted:.1f} device seconds {where}: more than {limit:.1f}, 1.25 times the baseline's"


def _verdict_of_training(
    order: Order, progress: Progress, end: Exit | None, latest: Mapping[str, float | None], outcome: Outcome
) -> None:
    if end is not None and end.out_of_memory:
        gib = order.limits.memory_bytes / (1 << 30)
        outcome.cause, outcome.detail = Cause.OUT_OF_MEMORY, f"needed more than {gib:.1f} GiB"
    elif progress.phase == "failed":
        outcome.cause, outcome.detail = Cause.CRASHED, progress.error or "raised an error"
        outcome.traceback = progress.traceback
    elif progress.phase != "done":
        code = end.code if end else "none"
        outcome.cause, outcome.detail = Cause.CRASHED, f"exited with code {code} before it was done"
    elif not progress.batches:
        outcome.cause, outcome.detail = Cause.NO_PROGRESS, "ended without asking for a batch"
    elif not progress.saved and progress.refused:
        outcome.cause, outcome.detail = Cause.BAD_CHECKPOINT, progress.refused
    elif not progress.saved:
        wanted = "run.save" if order.genome.command is None else checkpoint_files(order)[0]
        outcome.cause, outcome.detail = Cause.NO_CHECKPOINT, f"ended without a complete {wanted}"
    elif "loss" in latest and latest["loss"] is None:
        outcome.cause, outcome.detail = Cause.DIVERGED, "its loss is not a finite number"
