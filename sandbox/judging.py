"""The second half of a trial: fresh containers answer for the frozen weights, and a scorer of ours does the rest."""

import random
import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from sandbox import bounds, hashes, rungs
from sandbox.drivers.base import Box, Driver, Exit, Job, SandboxError
from sandbox.models import AttemptState, Purpose
from sandbox.outcome import Outcome
from sandbox.servers import checkpoint_files
from sandbox.trial import TICK_SECONDS, Order, Watcher, job, socket_of
from trainer.contract import CONFIG_FILE, FIRST, MAX_PAYLOAD_BYTES, MODEL_FILE, Cause
from trainer.harness.outside import checkpoint, scorer
from trainer.harness.outside.judge import Asker, AskerFailed, JudgeServer
from trainer.harness.outside.peaks import mfu
from trainer.harness.outside.scorer import Judgement, Tokens
from trainer.harness.outside.text import SCORED_TOKENS

START_SECONDS = 120.0  # a judge container, until it has imported torch
LOAD_SECONDS = 120.0  # and from then until it has loaded the model
CHECK_LOAD_SECONDS = 40.0  # likewise, in a check
JUDGE_SECONDS = 3600.0  # all of it
END_SECONDS = 3.0  # of a container, once we hung up
CHECK_WINDOWS = 8  # at least
CHECK_TOKENS = 2048
CPU_SCORED_TOKENS = 65_536  # a quarter of a GPU's: twice its sampling error, and a judge of seconds
LOGITS_BYTES = 16 << 30  # of all scored tokens together: a large vocabulary is scored on fewer
GPU_TIMED_BYTES = 4 << 30  # of logits in a timed question: there a forward pass needs a large batch to be fast


@dataclass
class Prepared:
    """Judge containers that have imported torch and wait, with nothing of the genome in them, and the windows."""

    windows: Future[Tokens]
    servers: dict[str, JudgeServer] = field(default_factory=dict)
    boxes: dict[str, Box] = field(default_factory=dict)

    def close(self) -> None:
        """Hang up and leave nothing behind; harmless when that was done."""
        self.windows.cancel()
        for server in self.servers.values():
            server.close()
        for box in self.boxes.values():
            box.remove()


def prepare(order: Order, driver: Driver) -> Prepared:
    """Start the judge's containers, with an empty folder where the weights will be; returns before they are ready.

    Meant for the last part of a training. Whatever an earlier runner of this trial left of them is removed first.
    """
    _weights(order).mkdir(mode=0o755, exist_ok=True)
    pool = ThreadPoolExecutor(1, thread_name_prefix="windows")
    prepared = Prepared(windows=pool.submit(_windows, order))
    pool.shutdown(wait=False)
    try:
        for part in _parts(order):
            left = driver.adopt(f"{order.name}-{part}")
            if left is not None:
                left.remove()
            prepared.servers[part] = JudgeServer(socket_of(order, part))
            prepared.boxes[part] = driver.start(_job(order, part))
    except BaseException:
        prepared.close()
        raise
    return prepared


def judge(
    order: Order, driver: Driver, watch: Watcher, outcome: Outcome, prepared: Prepared | None = None
) -> None:
    """Freeze the weights and fill `outcome` with what the scorer found; `prepared` containers are used up."""
    started = time.monotonic()
    try:
        _freeze(order, outcome)
        _refuse(outcome, bounds.of_size(outcome.numbers, order.baseline))
        if order.purpose == Purpose.CHECK:
            _refuse(outcome, _unchanged(order))
        if outcome.cause is None:
            prepared = prepared or prepare(order, driver)
            _examine(order, prepared, watch, outcome)
    finally:
        if prepared is not None:
            prepared.close()
    outcome.phases["judge"] = time.monotonic() - started


def _examine(order: Order, prepared: Prepared, watch: Watcher, outcome: Outcome) -> None:
    boxes = list(prepared.boxes.values())
    watch.phase(AttemptState.JUDGING, boxes[0].name)
    windows = prepared.windows.result()
    outcome.hashes["split"] = hashes.of_windows(windows)
    askers = [
        _accept(server, box) for server, box in zip(prepared.servers.values(), prepared.boxes.values(), strict=True)
    ]
    watch.tick(1.0)
    try:
        clocks = [_clock(order, box) for box in boxes]
        began = [clock() for clock in clocks]
        for asker in askers:
            asker.load()
        for asker in askers:
            asker.wait_loaded(CHECK_LOAD_SECONDS if order.purpose == Purpose.CHECK else LOAD_SECONDS)
        loaded = [clock() for clock in clocks]
        judgement = _ask(order, askers, windows, watch, clock=clocks[0])
        outcome.cause, outcome.detail = judgement.cause, judgement.detail
        if outcome.cause is None:
            # On a GPU the clock of the answers alone: ours for scoring them is none of the variant's.
            used = [
                clock() - start if order.gpu is None else asker.seconds
                for clock, start, asker in zip(clocks, loaded, askers, strict=True)
            ]
            outcome.numbers["load_seconds"] = max(end - start for start, end in zip(began, loaded, strict=True))
            for name, seconds, asker in zip(bounds.PER_TOKEN, used, askers, strict=False):
                outcome.numbers[name] = seconds / asker.tokens if asker.tokens else None
            _enter(order, judgement, outcome)
            _compare(order, askers[0], windows, outcome)
            _hold(order, outcome, asked=[asker.tokens for asker in askers])
    except AskerFailed as failure:
        outcome.cause, outcome.detail = failure.cause, failure.detail
    if outcome.cause is not None:
        _blame_memory(order, prepared, outcome)


def _accept(server: JudgeServer, box: Box) -> Asker:
    """The container, once it has imported torch. Until then no line of a variant has run, so failing is ours."""
    try:
        return server.accept(START_SECONDS, alive=lambda: box.poll() is None)
    except AskerFailed as failure:
        raise SandboxError(f"a judge's container {failure.detail}: {box.log(500)}") from failure


def _clock(order: Order, box: Box) -> Callable[[], float]:
    """Seconds of the device: CPU seconds where there is no GPU, to which a neighbour's work adds little."""
    return time.perf_counter if order.gpu is not None else lambda: box.usage().cpu_seconds


def _ask(
    order: Order, askers: list[Asker], windows: Tokens, watch: Watcher, *, clock: Callable[[], float]
) -> Judgement:
    check = order.purpose == Purpose.CHECK
    return scorer.judge(
        askers[0],
        askers[-1],
        windows=windows,
        token_bytes=order.text.token_bytes,
        # Drawn only now that the weights cannot change any more.
        rng=np.random.default_rng(random.SystemRandom().getrandbits(64)),
        practice=None if check else order.text.train,
        timed_bytes=MAX_PAYLOAD_BYTES if order.gpu is None else GPU_TIMED_BYTES,
        clock=clock,
        look=partial(watch.tick, 1.0),
    )


def _enter(order: Order, judgement: Judgement, outcome: Outcome) -> None:
    """Write down what was found. What could not be measured is None, and `missing` says why."""
    speed, flops = outcome.numbers.get("tokens_per_second"), bounds.counted(judgement.flops_per_token, order.baseline)
    known = bool(flops and speed and order.peak_flops)
    outcome.numbers.update(
        device=order.device,  # a CPU's MFU is informational: evolution/efficiency.py
        val_loss=judgement.val_loss, val_loss_error=judgement.val_loss_error, perplexity=judgement.perplexity,
        bits_per_byte=judgement.bits_per_byte, correction=judgement.correction, gain=judgement.gain,
        apart=judgement.apart, cuts=judgement.cuts, audit_bound=judgement.audit_bound, drift=judgement.drift,
        low_precision=judgement.low_precision, scored_tokens=judgement.scored_tokens,
        forward_tokens_per_second=judgement.forward_tokens_per_second,
        flops_counted=judgement.flops_per_token, flops_per_token=flops,
        parameters=_parameters(order) or judgement.parameters,
        mfu=mfu(flops or 0.0, speed or 0.0, order.peak_flops or 1.0) if known else None,
    )
    parameters = outcome.numbers["parameters"]
    counted = judgement.flops_per_token
    # Of the 6 N of Kaplan et al. 2020: attention and padding put it above 1, tables that are only looked up below.
    outcome.numbers["flops_to_formula"] = counted / (6 * parameters) if counted and parameters else None
    reasons = {
        "flops_per_token": judgement.no_flops if flops is None else "",
        "mfu": "" if known else _no_mfu(order, flops=flops),
    }
    outcome.numbers["missing"] = {name: reason for name, reason in reasons.items() if reason}


def _no_mfu(order: Order, *, flops: float | None) -> str:
    if flops is None:
        return "nobody counted its FLOPs"
    return "its tokens were not counted" if order.peak_flops else "this device's peak is not known"


def _parameters(order: Order) -> int | None:
    """By the header of the weights, which no variant's code is asked about; None where they are no safetensors."""
    path = _weights(order) / MODEL_FILE
    return checkpoint.parameters(path) if path.exists() else None


def _compare(order: Order, asker: Asker, windows: Tokens, outcome: Outcome) -> None:
    """In a check: the loss of the weights it began with, where they could be saved and can be loaded."""
    if not (_weights(order) / FIRST).is_dir():
        return
    try:
        asker.load_first(CHECK_LOAD_SECONDS)
    except AskerFailed:
        return
    outcome.numbers["first_loss"] = scorer.loss(asker, windows=windows, token_bytes=order.text.token_bytes)


def _hold(order: Order, outcome: Outcome, *, asked: list[int]) -> None:
    """Refuse what took too long, or went faster than it can."""
    if order.purpose == Purpose.CHECK:
        vocab_size = order.text.vocab_size
        _refuse(outcome, rungs.of_loss(outcome.numbers, outcome.claimed, vocab_size=vocab_size))
        return
    _refuse(outcome, bounds.of_time(outcome.numbers, order.baseline, asked=asked))
    trained = outcome.numbers.get("tokens_per_second")
    used, tokens = outcome.numbers.get("device_seconds"), outcome.numbers.get("train_tokens")
    if order.gpu is None and tokens and used:
        trained = tokens / used  # by the same clock as the forward pass
    parallel = order.threads if order.gpu is None else 1
    _refuse(outcome, bounds.of_speed(
        outcome.numbers, trained=trained, peak_flops=order.peak_flops / parallel if order.peak_flops else None
    ))


def _refuse(outcome: Outcome, refusal: bounds.Refusal | None) -> None:
    if refusal is not None and outcome.cause is None:
        outcome.cause, outcome.detail = refusal


def _blame_memory(order: Order, prepared: Prepared, outcome: Outcome) -> None:
    """Name the true cause where a container was killed for its memory: its socket closes before its end is known."""
    for server in prepared.servers.values():
        server.close()  # whoever still runs ends now
    ends = [_end(box) for box in prepared.boxes.values()]
    if any(end is not None and end.out_of_memory for end in ends):
        gib = order.limits.memory_bytes / (1 << 30)
        outcome.cause, outcome.detail = Cause.OUT_OF_MEMORY, f"loading and judging needed more than {gib:.1f} GiB"


def _end(box: Box) -> Exit | None:
    deadline = time.monotonic() + END_SECONDS
    while (end := box.poll()) is None and time.monotonic() < deadline:
        time.sleep(TICK_SECONDS)
    return end


def _windows(order: Order) -> Tokens:
    """What is scored. Before review nothing held-out is shown to anybody."""
    if order.purpose == Purpose.CHECK:
        return order.text.check_windows(max(CHECK_WINDOWS, CHECK_TOKENS // order.text.context))
    affordable = LOGITS_BYTES // (4 * order.text.vocab_size)
    return order.text.windows(
        order.split, scored_tokens=min(CPU_SCORED_TOKENS if order.gpu is None else SCORED_TOKENS, affordable)
    )


def _freeze(order: Order, outcome: Outcome) -> None:
    """Copy the last complete checkpoint to where the judge's containers read it; measure and hash what is judged."""
    weights = _weights(order)
    weights.mkdir(mode=0o755, exist_ok=True)
    names, genome = checkpoint_files(order), hashes.files(order.genome_dir)
    for name in names:
        target = weights / name
        shutil.copyfile(order.folder / name, target)
        target.chmod(0o444)
    outcome.numbers["saved_bytes"] = sum((weights / name).stat().st_size for name in names)
    outcome.numbers["genome_bytes"] = sum(path.stat().st_size for path in genome)
    outcome.hashes["weights"] = hashes.of_file(weights / names[0])
    outcome.numbers["weights_sha256"] = outcome.hashes["weights"]


def _unchanged(order: Order) -> bounds.Refusal | None:
    """In a check: whether what was saved are, bit for bit, the weights it began with."""
    first = order.folder / FIRST
    if not all((first / name).is_file() for name in (MODEL_FILE, CONFIG_FILE)):
        return None
    if checkpoint.same_tensors(first / MODEL_FILE, _weights(order) / MODEL_FILE):
        return Cause.NO_CHANGE, (
            "what it saved are the weights it began with, bit for bit: no step is taken, or another model is saved"
        )
    target = _weights(order) / FIRST
    target.mkdir(mode=0o755, exist_ok=True)
    for name in (MODEL_FILE, CONFIG_FILE):
        shutil.copyfile(first / name, target / name)
        (target / name).chmod(0o444)
    return None


def _parts(order: Order) -> tuple[str, ...]:
    return ("window",) if order.purpose == Purpose.CHECK else ("window", "prefix")


def _weights(order: Order) -> Path:
    return order.folder / "weights"


def _job(order: Order, part: str) -> Job:
    # They may be started long before the training is over.
    limits = replace(order.limits, wall_seconds=order.limits.wall_seconds + JUDGE_SECONDS)
    return job(order, part, module="judge", limits=limits, weights=_weights(order))
