"""The second half of a trial: fresh containers answer for the frozen weights, and a scorer of ours does the rest."""

import hashlib
import random
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from sandbox import bounds
from sandbox.drivers.base import Box, Driver, Job
from sandbox.models import AttemptState, Purpose
from sandbox.outcome import Outcome
from sandbox.servers import checkpoint_files
from sandbox.trial import Order, Watcher, job, socket_of
from trainer.contract import Cause
from trainer.harness.outside import scorer
from trainer.harness.outside.judge import AskerFailed, JudgeServer
from trainer.harness.outside.text import SCORED_TOKENS

LOAD_SECONDS = 120.0  # a judge container, until it answers
CHECK_WINDOWS = 8
CPU_SCORED_TOKENS = 65_536  # a quarter of a GPU's: twice its sampling error, and a judge of seconds
CONTAINERS = "window", "prefix"



def judge(order: Order, driver: Driver, watch: Watcher, outcome: Outcome) -> None:
    """Fresh containers answer for the frozen weights; fill `outcome` with what the scorer found."""
    started = time.monotonic()
    _freeze(order, outcome)
    _refuse(outcome, bounds.of_size(outcome.numbers, order.baseline))
    if outcome.cause is not None:
        return
    # Drawn only now that the weights cannot change any more.
    rng = np.random.default_rng(random.SystemRandom().getrandbits(64))
    names = CONTAINERS[:1] if order.purpose == Purpose.CHECK else CONTAINERS
    servers = {name: JudgeServer(socket_of(order, name)) for name in names}
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
        used = boxes[0].usage().cpu_seconds
        _ask(order, askers, rng, outcome)
        _measure_answers(order, boxes[0].usage().cpu_seconds - used, outcome)
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
        else order.text.windows(order.split, scored_tokens=_scored_tokens(order))
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


def _measure_answers(order: Order, cpu_seconds: float, outcome: Outcome) -> None:
    if outcome.cause is not None:
        return
    tokens = outcome.numbers["scored_tokens"]
    outcome.numbers["judge_seconds_per_token"] = cpu_seconds / tokens
    _refuse(outcome, bounds.of_time(outcome.numbers, order.baseline, asked_tokens=tokens))


def _refuse(outcome: Outcome, refusal: bounds.Refusal | None) -> None:
    if refusal is not None and outcome.cause is None:
        outcome.cause, outcome.detail = refusal


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
    names = checkpoint_files(order)
    for name in names:
        target = weights / name
        shutil.copyfile(order.folder / name, target)
        target.chmod(0o444)
    outcome.hashes["weights"] = outcome.numbers["weights_sha256"] = _sha256(weights / names[0])
    outcome.hashes["text"] = order.text.sha256
    outcome.numbers["saved_bytes"] = sum((weights / name).stat().st_size for name in names)
    outcome.numbers["genome_bytes"] = sum(path.stat().st_size for path in _files(order.genome_dir))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _job(order: Order, part: str) -> Job:
    limits = replace(order.limits, wall_seconds=LOAD_SECONDS * 10)
    return job(order, part, module="judge", limits=limits, weights=order.folder / "weights")
