"""The score: held-out text and targets never leave this process, and every number is computed here.

One container answers full windows, another one only prefixes of them; a model that looks at later tokens does better on
the windows, and what it gained is taken back (DESIGN: the judge).
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.contract import MAX_PAYLOAD_BYTES, Cause
from trainer.harness.outside.judge import AskerFailed

Tokens = NDArray[np.uint16]
Floats = NDArray[np.float64]

MAX_GAIN = 0.002  # nats; honest float32 models differ by 2e-6, bfloat16 ones by 5e-5 in the mean
NOISE = 1e-5  # nats; below this a gain is rounding, which would make equal weights score unequally
MAX_DRIFT = 1e-4  # nats between two answers to the same question; 1e-3 for bfloat16
ROWS = 64  # windows in one question
REPEAT_ROWS = 29  # and in the repeat: another number, and no divisor of the first
REPEAT_TOKENS = 16_384
MAX_PREFIXES = 2048
MAX_LENGTHS = 64  # different lengths of prefixes
MAX_LOSS = 100.0  # nats; exp() of much more is no number any more


class Asker(Protocol):
    """A model that answers questions; AskerFailed when it does not."""

    def logits(self, tokens: Tokens, *, last: bool = False) -> NDArray[np.float32]: ...
    def flops(self, context: int) -> tuple[float, int]: ...


@dataclass(frozen=True)
class Judgement:
    """What the judge found. With a `cause` there is no score. Losses are in nats per token.

    `gain` is the mean of loss_prefix − loss_window. `val_loss` is the window loss plus `correction`, which is the gain
    where that is positive and more than rounding: a negative one could be sought, by answering windows badly, until the
    draw of the cuts is lucky. `val_loss_error` is the standard error over windows, `forward_tokens_per_second` what the
    model's own forward pass reached here.
    """

    cause: Cause | None = None
    detail: str = ""
    val_loss: float | None = None
    val_loss_error: float | None = None
    perplexity: float | None = None
    bits_per_byte: float | None = None
    correction: float | None = None
    gain: float | None = None
    scored_tokens: int = 0
    flops_per_token: float | None = None
    parameters: int | None = None
    forward_tokens_per_second: float | None = None
    seconds: float = 0.0


class _Refused(Exception):
    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(detail)
        self.cause, self.detail = cause, detail


def judge(
    window: Asker,
    prefix: Asker,
    *,
    windows: Tokens,
    token_bytes: Floats,
    rng: np.random.Generator,
    max_drift: float = MAX_DRIFT,
) -> Judgement:
    """Score the model behind `window` and `prefix` on `windows` [W, T + 1]; never raises for the model's own fault.

    `rng` draws the cuts of the prefixes: seed it only once the weights are frozen.
    """
    started = time.monotonic()
    try:
        found = _judge(window, prefix, windows=windows, token_bytes=token_bytes, rng=rng, max_drift=max_drift)
    except AskerFailed as failure:
        found = Judgement(cause=failure.cause, detail=failure.detail)
    except _Refused as refusal:
        found = Judgement(cause=refusal.cause, detail=refusal.detail)
    return replace(found, seconds=time.monotonic() - started)


def _judge(
    window: Asker, prefix: Asker, *, windows: Tokens, token_bytes: Floats, rng: np.random.Generator, max_drift: float
) -> Judgement:
    vocab_size, context = len(token_bytes), windows.shape[1] - 1
    flops, parameters = window.flops(context)
    began = time.monotonic()
    found = np.empty(windows[:, 1:].shape)  # log-probabilities of the targets [W, T]
    # In the order of the text, so that the same weights give the same number; `_repeat` is the other order.
    for rows in _chunks(np.arange(len(windows)), ROWS, context=context, vocab_size=vocab_size):
        found[rows] = _ask(window, windows[rows], vocab_size=vocab_size)
    speed = found.size / max(time.monotonic() - began, 1e-9)
    _repeat(window, windows, found, vocab_size=vocab_size, rng=rng, max_drift=max_drift)
    gain = _audit(prefix, windows, found, vocab_size=vocab_size, rng=rng)
    per_window = -found.mean(axis=1)
    correction = gain if gain > NOISE else 0.0
    loss = float(per_window.mean()) + correction
    if not math.isfinite(loss) or loss > MAX_LOSS:
        raise _Refused(Cause.DIVERGED, f"the loss on held-out text is above {MAX_LOSS:.0f} nats per token")
    targets = windows[:, 1:]
    return Judgement(
        val_loss=loss,
        val_loss_error=float(per_window.std(ddof=1) / math.sqrt(len(windows))) if len(windows) > 1 else None,
        perplexity=math.exp(loss),
        bits_per_byte=loss * targets.size / (math.log(2) * float(token_bytes[targets].sum())),
        correction=correction,
        gain=gain,
        scored_tokens=targets.size,
        flops_per_token=flops,
        parameters=parameters,
        forward_tokens_per_second=speed,
    )


def log_probabilities(logits: NDArray[np.float32], targets: Tokens) -> Floats:
    """Log-probabilities in nats that `logits` [..., V'] give to `targets` [...]: our own log-softmax, in float32."""
    top = logits.max(axis=-1, keepdims=True)
    with np.errstate(under="ignore"):
        total = np.exp(logits - top).sum(axis=-1, dtype=np.float32)
    chosen = np.take_along_axis(logits, targets[..., None].astype(np.int64), axis=-1)[..., 0]
    nats: Floats = (chosen - top[..., 0] - np.log(total)).astype(np.float64)
    return nats


def _ask(asker: Asker, windows: Tokens, *, vocab_size: int) -> Floats:
    """Log-probabilities of the true next tokens in `windows` [B, T + 1]: [B, T]."""
    logits = asker.logits(windows[:, :-1])
    _check(logits, vocab_size=vocab_size)
    return log_probabilities(logits, windows[:, 1:])


def _check(logits: NDArray[np.float32], *, vocab_size: int) -> None:
    if logits.shape[-1] < vocab_size:
        raise _Refused(Cause.BAD_LOGITS, f"logits for {logits.shape[-1]} tokens where the text has {vocab_size}")
    if not np.isfinite(logits).all():
        raise _Refused(Cause.BAD_LOGITS, "logits that are not finite numbers")


def _chunks(
    order: NDArray[np.int64], rows: int, *, context: int, vocab_size: int
) -> Iterator[NDArray[np.int64]]:
    """`order` in pieces of `rows`, fewer where the logits would be larger than one message may be."""
    # Half of the limit, because a model may pad its vocabulary.
    rows = max(min(rows, MAX_PAYLOAD_BYTES // 2 // (4 * context * vocab_size)), 1)
    for start in range(0, len(order), rows):
        yield order[start : start + rows]


def _repeat(
    asker: Asker, windows: Tokens, found: Floats, *, vocab_size: int, rng: np.random.Generator, max_drift: float
) -> None:
    """Ask some windows again, in another order and batch size: the same answers, or Cause.UNSTABLE."""
    context = windows.shape[1] - 1
    chosen = rng.permutation(len(windows))[: max(REPEAT_TOKENS // context, 1)]
    again = np.concatenate([
        _ask(asker, windows[rows], vocab_size=vocab_size)
        for rows in _chunks(chosen, REPEAT_ROWS, context=context, vocab_size=vocab_size)
    ])
    drift = abs(float(again.mean() - found[chosen].mean()))
    if drift > max_drift:
        raise _Refused(Cause.UNSTABLE, f"the same windows in another order changed the loss by {drift:.2g} nats")


def _audit(asker: Asker, windows: Tokens, found: Floats, *, vocab_size: int, rng: np.random.Generator) -> float:
    """Mean of loss_prefix − loss_window over random cuts; Cause.PEEKED when the windows did better by too much.

    Each window is cut once, at most: a longer prefix of it would give away the target of a shorter one.
    """
    gains = []
    for length, rows in _cuts(windows, rng):
        logits = asker.logits(np.ascontiguousarray(windows[rows, :length]), last=True)
        _check(logits, vocab_size=vocab_size)
        alone = log_probabilities(logits[:, 0], windows[rows, length])
        gains.append(found[rows, length - 1] - alone)
    gain = float(np.concatenate(gains).mean())
    if gain > MAX_GAIN:
        raise _Refused(Cause.PEEKED, f"it did better by {gain:.4f} nats where it could see what came after")
    return gain


def _cuts(windows: Tokens, rng: np.random.Generator) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Lengths 1 … T in random order, each with the windows that are cut there."""
    context = windows.shape[1] - 1
    lengths = rng.permutation(context)[:MAX_LENGTHS] + 1
    chosen = rng.permutation(len(windows))[:MAX_PREFIXES]
    shares = np.array_split(chosen, len(lengths))
    for length, rows in zip(lengths, shares, strict=True):
        if len(rows):
            yield int(length), rows
