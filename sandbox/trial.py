"""One trial from container to number, with no database: train, freeze, judge.

What fails in here by the variant's own fault is an Outcome with a cause; what fails by ours is an exception.
"""

import hashlib
import logging
import random
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from evolution.errors import DarwinError
from sandbox import mounts
from sandbox.drivers.base import Box, Driver, Exit, Job, Limits, SandboxError
from sandbox.models import AttemptState, Purpose
from sandbox.outcome import Outcome
from trainer.contract import CONFIG_FILE, MODEL_FILE, SAVE_SECONDS, Cause, Genome
from trainer.harness.outside import scorer
from trainer.harness.outside.judge import AskerFailed, JudgeServer
from trainer.harness.outside.server import Budget, Progress, Report, TextServer
from trainer.harness.outside.stream import Stream
from trainer.harness.outside.text import SCORED_TOKENS, Text

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
START_SECONDS = 120.0  # from the container's start to the first batch
IDLE_SECONDS = 300.0  # between two batches
EXIT_SECONDS = 10.0  # from the acknowledgement to the end of the process
LOAD_SECONDS = 120.0  # a judge container, until it answers
CHECK_BATCHES = 8
CHECK_WINDOWS = 8
CPU_SCORED_TOKENS = 65_536  # a quarter of a GPU's: twice its sampling error, and a judge of seconds
DEVICE_GRACE_SECONDS = 2.0  # the resolution of the cgroup's clock and of our looks at it
CONTAINERS = "train", "window", "prefix"


class Abandoned(DarwinError):
    """The trial must stop now: called off, or this process is being ended."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Watcher(Protocol):
    def phase(self, state: AttemptState, container: str) -> None: ...
    def report(self, report: Report) -> None: ...
    def tick(self, progress: float) -> None: ...


@dataclass(frozen=True)
class Order:
    """What to run. `folder` outlives this process: the text server's state and the checkpoint are in it."""

    name: str  # unique, prefix of the containers' names
    purpose: Purpose
    genome_dir: Path
    genome: Genome
    folder: Path
    text: Text
    seed: int
    budget_tokens: int | None
    budget_seconds: float | None
    threads: int
    gpu: str | None = None
    device_seconds_limit: float | None = None  # 1.25 × the baseline's
    peak_flops: float | None = None  # of the device, for MFU
    limits: Limits = field(default_factory=Limits)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def device(self) -> str:
        return "cpu" if self.gpu is None else "cuda"


def conduct(order: Order, driver: Driver, watch: Watcher) -> Outcome:
    """Train and judge one genome; takes over what an earlier runner of the same folder left."""
    outcome = Outcome()
    try:
        trained = _train(order, driver, watch, outcome)
        if trained and outcome.cause is None:
            _judge(order, driver, watch, outcome)
    finally:
        for part in CONTAINERS:
            box = driver.adopt(f"{order.name}-{part}")
            if box is not None:
                box.remove()
    return outcome


# --- training -------------------------------------------------------------------------------------------------------


def _train(order: Order, driver: Driver, watch: Watcher, outcome: Outcome) -> bool:
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
    box = adopted or driver.start(_job(order, "train"))
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
    batches = CHECK_BATCHES if order.purpose == Purpose.CHECK else None
    return TextServer(
        socket=order.folder / "train-socket" / "harness.sock",
        folder=order.folder,
        stream=Stream(order.text.train, seed=order.seed, segment=order.genome.context),
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
    limit = order.device_seconds_limit
    if limit is not None and device_seconds is not None and device_seconds > limit + DEVICE_GRACE_SECONDS:
        return Cause.DEVICE_TIME
    if not progress.batches:
        return Cause.NO_PROGRESS if elapsed > START_SECONDS else None
    silence = now - (progress.last_request_at or now)
    if progress.phase == "saving":
        return Cause.OUT_OF_TIME if silence > SAVE_SECONDS + 5 else None
    return Cause.NO_PROGRESS if silence > IDLE_SECONDS else None


def _why(cause: Cause, order: Order) -> str:
    limit = order.device_seconds_limit
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


# --- judging --------------------------------------------------------------------------------------------------------


def _judge(order: Order, driver: Driver, watch: Watcher, outcome: Outcome) -> None:
    """Fresh containers answer for the frozen weights; fill `outcome` with what the scorer found."""
    started = time.monotonic()
    _freeze(order, outcome)
    # Drawn only now that the weights cannot change any more.
    rng = np.random.default_rng(random.SystemRandom().getrandbits(64))
    names = CONTAINERS[1:2] if order.purpose == Purpose.CHECK else CONTAINERS[1:]
    servers = {name: JudgeServer(order.folder / f"{name}-socket" / "harness.sock") for name in names}
    boxes: list[Box] = []
    try:
        for name in names:
            boxes.append(driver.start(_job(order, name)))
        watch.phase(AttemptState.JUDGING, boxes[0].name)
        askers = {
            name: server.wait_connected(LOAD_SECONDS, alive=partial(_runs, box))
            for (name, server), box in zip(servers.items(), boxes, strict=True)
        }
        watch.tick(1.0)
        _ask(order, askers, rng, outcome)
    except AskerFailed as failure:
        outcome.cause, outcome.detail = failure.cause, failure.detail
        _blame_memory(order, boxes, outcome)
    finally:
        for server in servers.values():
            server.close()
        for box in boxes:
            box.remove()
    outcome.phases["judge"] = time.monotonic() - started


def _runs(box: Box) -> bool:
    return box.poll() is None


def _ask(order: Order, askers: Mapping[str, scorer.Asker], rng: np.random.Generator, outcome: Outcome) -> None:
    check = order.purpose == Purpose.CHECK
    # Before review nothing held-out is shown to anybody.
    windows = (
        order.text.check_windows(CHECK_WINDOWS) if check
        else order.text.windows("public", scored_tokens=_scored_tokens(order))
    )
    window = askers["window"]
    judgement = scorer.judge(
        window, askers.get("prefix", window), windows=windows, token_bytes=order.text.token_bytes, rng=rng
    )
    outcome.cause, outcome.detail = judgement.cause, judgement.detail
    if outcome.cause is not None:
        return
    speed = outcome.numbers.get("tokens_per_second")
    flops = judgement.flops_per_token
    outcome.numbers.update(
        val_loss=judgement.val_loss, val_loss_error=judgement.val_loss_error, perplexity=judgement.perplexity,
        bits_per_byte=judgement.bits_per_byte, correction=judgement.correction, gain=judgement.gain,
        scored_tokens=judgement.scored_tokens,
        flops_per_token=flops, parameters=judgement.parameters,
        mfu=flops * speed / order.peak_flops if flops and speed and order.peak_flops else None,
    )


def _scored_tokens(order: Order) -> int:
    return CPU_SCORED_TOKENS if order.gpu is None else SCORED_TOKENS


def _blame_memory(order: Order, boxes: list[Box], outcome: Outcome) -> None:
    ends = [box.poll() for box in boxes]
    if any(end is not None and end.out_of_memory for end in ends):
        gib = order.limits.memory_bytes / (1 << 30)
        outcome.cause, outcome.detail = Cause.OUT_OF_MEMORY, f"loading and judging needed more than {gib:.1f} GiB"


def _freeze(order: Order, outcome: Outcome) -> None:
    """Copy the last complete checkpoint to where the judge's containers read it, and hash it."""
    weights = order.folder / "weights"
    weights.mkdir(mode=0o755, exist_ok=True)
    for name in (MODEL_FILE, CONFIG_FILE):
        target = weights / name
        shutil.copyfile(order.folder / name, target)
        target.chmod(0o444)
    outcome.hashes["weights"] = outcome.numbers["weights_sha256"] = _sha256(weights / MODEL_FILE)
    outcome.hashes["text"] = order.text.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _job(order: Order, part: str) -> Job:
    module = "train" if part == "train" else "judge"
    socket_dir = order.folder / f"{part}-socket"
    socket_dir.mkdir(mode=0o755, exist_ok=True)
    weights = None if part == "train" else order.folder / "weights"
    limits = order.limits if part == "train" else replace(order.limits, wall_seconds=LOAD_SECONDS * 10)
    return Job(
        name=f"{order.name}-{part}",
        command=("python", "-P", "-m", f"trainer.harness.inside.{module}"),
        mounts=mounts.of(order.genome_dir, socket_dir, weights),
        limits=limits,
        labels={**order.labels, "part": part},
        environment={
            "DARWIN_THREADS": str(order.threads),
            "OMP_NUM_THREADS": str(order.threads),
            "OMP_WAIT_POLICY": "passive",
        },
        gpu=order.gpu,
    )
