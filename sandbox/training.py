"""The first half of a trial: one container trains on text that a server outside counts and times."""

import time
from collections.abc import Callable, Mapping

from sandbox.drivers.base import Box, Driver, Exit, SandboxError
from sandbox.models import AttemptState, Purpose
from sandbox.outcome import Outcome
from sandbox.trial import TICK_SECONDS, Order, Watcher, job, socket_of
from trainer.contract import SAVE_SECONDS, Cause
from trainer.harness.outside.server import Budget, Progress, Report, TextServer
from trainer.harness.outside.stream import Stream

START_SECONDS = 120.0  # from the container's start to the first batch
IDLE_SECONDS = 300.0  # between two batches
EXIT_SECONDS = 10.0  # from the acknowledgement to the end of the process
CHECK_BATCHES = 8
DEVICE_TIME_RATIO = 1.25  # device time a variant may use, against the baseline's, never its parent's
DEVICE_GRACE_SECONDS = 2.0  # the resolution of the cgroup's clock and of our looks at it



def train(order: Order, driver: Driver, watch: Watcher, outcome: Outcome) -> bool:
    """Fill `outcome` with what the training did; True when there is a checkpoint to judge."""
    started = time.monotonic()
    latest: dict[str, float | None] = {}

    def claimed(report: Report) -> None:
        latest.update({**report.numbers, "loss": report.loss, "step": float(report.step)})
        watch.report(report)

    server = _text_server(order, claimed)
    adopted = driver.adopt(f"{order.name}-train")
    if adopted is None and server.progress().batches:
        raise SandboxError("the container was lost in the middle of a training")
    server.start()
    box = adopted or driver.start(job(order, "train", module="train", limits=order.limits))
    try:
        watch.phase(AttemptState.TRAINING, box.name)
        end, device_seconds = _follow(order, box, server, watch, outcome)
        progress = server.progress()
        outcome.log_tail = box.log()
        outcome.exit_code = end.code if end else None
        usage = box.usage()
    finally:
        server.stop()
        box.remove()
    outcome.claimed = latest
    outcome.progress = progress.fraction
    # To the last save: who fetches every batch first and trains afterwards is no faster for it.
    seconds = max(progress.seconds, progress.saved_seconds or 0.0)
    outcome.phases["train"] = seconds
    outcome.phases["around training"] = time.monotonic() - started - seconds
    outcome.numbers.update(
        train_tokens=progress.tokens, train_seconds=seconds, device_seconds=device_seconds,
        tokens_per_second=progress.tokens / seconds if seconds > 0 else None,
        peak_memory_bytes=usage.peak_memory_bytes,
    )
    if outcome.cause is None:
        _verdict_of_training(order, progress, end, latest, outcome)
    return outcome.cause is None


def _text_server(order: Order, on_report: Callable[[Report], None]) -> TextServer:
    stream_seed = order.seed if order.stream_seed is None else order.stream_seed
    batches = CHECK_BATCHES if order.purpose == Purpose.CHECK else None
    return TextServer(
        socket=socket_of(order, "train"),
        folder=order.folder,
        stream=Stream(order.text.train, seed=stream_seed, segment=order.genome.context),
        validation=order.text.validation,
        vocab_size=order.text.vocab_size,
        budget=Budget(tokens=order.budget_tokens, seconds=order.budget_seconds, batches=batches),
        seed=order.seed,
        device=order.device,
        max_checkpoint_bytes=order.limits.out_bytes,
        on_report=on_report,
    )


def _follow(
    order: Order, box: Box, server: TextServer, watch: Watcher, outcome: Outcome
) -> tuple[Exit | None, float | None]:
    """Watch until the container ended or had to be ended; returns its exit and its device seconds since batch one."""
    before_batches: float | None = None
    used = 0.0
    acknowledged: float | None = None
    began = time.monotonic()
    while True:
        end, progress = box.poll(), server.progress()
        if end is None:
            used = box.usage().cpu_seconds
        if before_batches is None and progress.batches:
            before_batches = used
        device_seconds = used - before_batches if before_batches is not None else None
        watch.tick(progress.fraction)
        if end is not None:
            return end, device_seconds
        if progress.phase in ("done", "failed") and acknowledged is None:
            server.acknowledge()
            acknowledged = time.monotonic()
        cause = _overdue(order, progress, device_seconds, time.monotonic() - began, acknowledged)
        if cause is not None:
            box.kill()
            if acknowledged is None:
                outcome.cause, outcome.detail = cause, _why(cause, order)
            return box.poll(), device_seconds
        time.sleep(TICK_SECONDS)


def _overdue(
    order: Order, progress: Progress, device_seconds: float | None, elapsed: float, acknowledged: float | None
) -> Cause | None:
    """Which clock ran out, if any."""
    now = time.time()
    if acknowledged is not None:
        return Cause.OUT_OF_TIME if time.monotonic() - acknowledged > EXIT_SECONDS else None
    if elapsed > order.limits.wall_seconds:
        return Cause.OUT_OF_TIME
    limit = device_limit(order)
    if limit is not None and device_seconds is not None and device_seconds > limit + DEVICE_GRACE_SECONDS:
        return Cause.DEVICE_TIME
    if not progress.batches:
        return Cause.NO_PROGRESS if elapsed > START_SECONDS else None
    silence = now - (progress.last_request_at or now)
    if progress.phase == "saving":
        return Cause.OUT_OF_TIME if silence > SAVE_SECONDS + 5 else None
    return Cause.NO_PROGRESS if silence > IDLE_SECONDS else None


def device_limit(order: Order) -> float | None:
    """The device seconds this training may use."""
    known = order.baseline.device_seconds
    return DEVICE_TIME_RATIO * known if known is not None else None


def _why(cause: Cause, order: Order) -> str:
    limit = device_limit(order)
    return {
        Cause.DEVICE_TIME: f"used more than {limit:.0f} device seconds, 1.25 times the baseline's" if limit else "",
        Cause.NO_PROGRESS: "asked for no batch in a long time",
        Cause.OUT_OF_TIME: "was still running when its time was over",
    }.get(cause, "")


def _verdict_of_training(
    order: Order, progress: Progress, end: Exit | None, latest: Mapping[str, float | None], outcome: Outcome
) -> None:
    if end is not None and end.out_of_memory:
        gib = order.limits.memory_bytes / (1 << 30)
        outcome.cause, outcome.detail = Cause.OUT_OF_MEMORY, f"needed more than {gib:.1f} GiB"
    elif progress.phase == "failed":
        outcome.cause, outcome.detail = Cause.CRASHED, progress.error or "raised an error"
    elif progress.phase != "done":
        code = end.code if end else "none"
        outcome.cause, outcome.detail = Cause.CRASHED, f"exited with code {code} before it was done"
    elif not progress.batches:
        outcome.cause, outcome.detail = Cause.NO_PROGRESS, "ended without asking for a batch"
    elif not progress.saved and progress.refused:
        outcome.cause, outcome.detail = Cause.BAD_CHECKPOINT, progress.refused
    elif not progress.saved:
        outcome.cause, outcome.detail = Cause.NO_CHECKPOINT, "ended without a complete run.save"
    elif "loss" in latest and latest["loss"] is None:
        outcome.cause, outcome.detail = Cause.DIVERGED, "its loss is not a finite number"
