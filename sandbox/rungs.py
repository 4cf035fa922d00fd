"""The rungs of a check in the sandbox: what each holds a genome to, and how a check that is over reads, rung by rung.

Pure: numbers in, named refusals and verdicts out. A limit whose other side is unknown holds nobody back.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.bounds import Refusal
from sandbox.outcome import Outcome
from sandbox.trial import Baseline
from trainer.contract import Cause

SHAPES, FEW, SHORT, CHECKPOINT = "shapes", "a few steps", "a short rung", "checkpoint"
BATCHES = 48  # of a check
FEW_BATCHES = 8
SECONDS = 20.0  # of the text's clock, after which a check ends with fewer batches
# A training may use 1.25 times the baseline's device time (sandbox/training.py). Who uses twice that in the steady part
# of so short a run has no way back; anything nearer is for the training itself to find out.
SLOW_RATIO = 2.5
# Small batches cost more per token, and a ramp begins with them: who may be on one is given as much again.
SMALL_BATCH, SMALL_BATCH_RATIO = 0.6, 2.0
SLOW_GRACE_SECONDS = 0.5  # a noisy neighbour's, in a run of one or two seconds
# Uniform guessing costs ln V nats. An untrained model costs hardly more, or half a nat where its logits come from a
# standard normal distribution, as those of a table of embeddings are.
UNIFORM_MARGIN = 0.5  # nats: who is above and has not come down at all diverges
FAR_MARGIN = 2.0  # nats: who is above has to be on the way down
RISE_MARGIN = 0.1  # nats above where it began: noise of a learning rate that is still rising
RECOVERY = 0.1  # of what it began with above ln V: who has lost so much is on the way down
# Its own claim says that it learned this much (nats), and less than this share of it is in what it saved.
CLAIMED_NATS = 1.0
SAVED_SHARE = 0.05

Numbers = Mapping[str, Any]


@dataclass(frozen=True)
class Rung:
    """The verdict of one rung."""

    name: str
    passed: bool
    detail: str
    seconds: float


def of_speed(numbers: Numbers, baseline: Baseline) -> Refusal | None:
    """So slow after its first few batches that the training could not end within its device time."""
    used, tokens = numbers.get("steady_device_seconds"), numbers.get("steady_tokens")
    known = baseline.steady_device_seconds_per_token
    if not tokens or used is None or known is None:
        return None
    each, usual = numbers.get("steady_tokens_per_batch"), baseline.steady_tokens_per_batch
    small = each is not None and usual is not None and each < SMALL_BATCH * usual
    if used <= SLOW_RATIO * (SMALL_BATCH_RATIO if small else 1.0) * known * tokens + SLOW_GRACE_SECONDS:
        return None
    return Cause.DEVICE_TIME, (
        f"{used / tokens / known:.1f} times the baseline's device time per token, over {tokens:,} tokens of a check: "
        "the training could not end within 1.25 times"
    )


def of_loss(numbers: Numbers, claimed: Mapping[str, float | None], *, vocab_size: int) -> Refusal | None:
    """What the saved model has learned in a check: `val_loss` and `first_loss` are the judge's, on training text."""
    loss, first = numbers.get("val_loss"), numbers.get("first_loss")
    if loss is None:
        return None
    if first is not None and loss == first:
        return Cause.NO_CHANGE, "what it saved answers exactly as the weights it began with"
    return _diverged(loss, first, uniform=math.log(vocab_size)) or _not_saved(loss, first, claimed.get("loss"))


def _diverged(loss: float, first: float | None, *, uniform: float) -> Refusal | None:
    if first is not None and loss > first + RISE_MARGIN:
        return Cause.DIVERGED, f"its loss rose from {first:.2f} to {loss:.2f} in a check"
    needed = RECOVERY * (first - uniform) if first is not None and loss > uniform + FAR_MARGIN else 0.0
    if loss <= uniform + (UNIFORM_MARGIN if first is not None else FAR_MARGIN):
        return None
    if first is not None and first - loss > needed:
        return None
    return Cause.DIVERGED, f"its loss is {loss:.2f} after a check, where guessing costs {uniform:.2f}"


def _not_saved(loss: float, first: float | None, claimed: float | None) -> Refusal | None:
    if first is None or claimed is None or first - claimed < CLAIMED_NATS:
        return None
    if first - loss >= SAVED_SHARE * (first - claimed):
        return None
    return Cause.WRONG_CHECKPOINT, (
        f"it claims a loss of {claimed:.2f}; what it saved has {loss:.2f}, and the weights it began with {first:.2f}"
    )


def climbed(outcome: Outcome) -> list[Rung]:
    """The rungs of a check that is over, up to the one where it ended."""
    rungs: list[Rung] = []
    for rung in _all(outcome):
        rungs.append(rung)
        if not rung.passed:
            return rungs
    if outcome.cause is not None:  # where nobody can say which rung it was
        rungs[-1] = Rung(rungs[-1].name, False, outcome.detail, rungs[-1].seconds)
    return rungs


def _all(outcome: Outcome) -> Iterator[Rung]:
    numbers, seconds = outcome.numbers, _seconds(outcome)
    failed = fell(outcome)
    why = outcome.sentence() if outcome.cause else ""
    if tried := numbers.get("rehearsal"):
        yield Rung(SHAPES, failed != SHAPES, tried["detail"], seconds[SHAPES])
    batches = numbers.get("batches")
    fine = f"{min(batches, FEW_BATCHES)} batches" if batches else "its first iterations"
    yield Rung(FEW, failed != FEW, why if failed == FEW else fine, seconds[FEW])
    if batches:
        yield Rung(SHORT, failed != SHORT, why if failed == SHORT else _learned(numbers), seconds[SHORT])
    yield Rung(CHECKPOINT, failed != CHECKPOINT, why if failed == CHECKPOINT else _saved(numbers), seconds[CHECKPOINT])


def fell(outcome: Outcome) -> str:
    """The name of the rung where a check ended; empty when it passed all."""
    if outcome.cause is None:
        return ""
    tried = outcome.numbers.get("rehearsal")
    if tried and tried["passed"] is False:
        return SHAPES
    if outcome.cause in (Cause.DIVERGED, Cause.NO_CHANGE) and outcome.numbers.get("batches"):
        return SHORT
    if "judge" in outcome.phases:
        return CHECKPOINT
    return SHORT if outcome.numbers.get("few_seconds") is not None else FEW


def _learned(numbers: Numbers) -> str:
    loss, first, ratio = numbers.get("val_loss"), numbers.get("first_loss"), numbers.get("steady_ratio")
    parts = [f"{numbers['batches']} batches"]
    if loss is not None:
        parts.append(f"loss {first:.2f} to {loss:.2f}" if first is not None else f"loss {loss:.2f} at its end")
    if ratio is not None:
        parts.append(f"{ratio:.2f} times the baseline's device time per token")
    return ", ".join(parts)


def _saved(numbers: Numbers) -> str:
    loss = numbers.get("val_loss")
    return "loads, and answers" + (f" with a loss of {loss:.2f} on training text" if loss is not None else "")


def _seconds(outcome: Outcome) -> dict[str, float]:
    """The phases of a trial, as rungs. The first rung pays for the container and the imports."""
    phases, numbers = outcome.phases, outcome.numbers
    before = sum(phases.get(name, 0.0) for name in ("start", "import", "setup"))
    few = numbers.get("few_seconds")
    training = phases.get("train", 0.0)
    steps = training if few is None else min(few, training)
    return {
        SHAPES: before, FEW: steps if numbers.get("rehearsal") else before + steps,
        SHORT: training - steps + phases.get("save", 0.0),
        CHECKPOINT: phases.get("end", 0.0) + phases.get("judge", 0.0),
    }
