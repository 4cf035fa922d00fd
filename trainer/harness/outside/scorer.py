"""The score: held-out text and targets never leave this process, and every number is computed here.

One container answers full windows, another one only prefixes of them; a model that looks at later tokens does better on
the windows, and what it gained is taken back. Both are asked at once: while one computes, the other's answer is scored.
"""

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.contract import MAX_PAYLOAD_BYTES, Cause
from trainer.harness.outside import cuts as audit
from trainer.harness.outside.cuts import Cuts
from trainer.harness.outside.judge import AskerFailed, Counted
from trainer.harness.outside.nats import Floats, NotFinite, log_probabilities

Tokens = NDArray[np.uint16]
Rng = np.random.Generator

MAX_GAIN = 0.002  # nats
ROWS = 64  # windows in one question
REPEAT_ROWS = 29  # and in the repeat: another number, and no divisor of the first
SINGLE_ROWS = 8  # windows of the repeat that are asked one by one
REPEAT_TOKENS = 8192  # of each container
MAX_LOSS = 100.0  # nats; exp() of much more is no number any more
MAX_COLUMNS = 1 << 16  # of logits, or twice the vocabulary: more padding than that is no model's
LOOK_SECONDS = 0.5

SPEED_TRIES = 3
SPEED_TOKENS = 4096  # in the first timed question; twice as many in the next while answers take less than SHORT_SECONDS
SHORT_SECONDS = 0.1
SPEED_ROWS = 64  # of the timed answers are asked again, elsewhere
SPEED_DRIFT = 0.02  # nats: far above what precision does, far below what a cheaper model would answer


@dataclass(frozen=True)
class Tolerance:
    """Nats: `drift` of the mean between two answers to the same questions, `noise` of a gain that is rounding, `apart`
    the mean distance, place by place, between the answers with and without what comes after."""

    drift: float
    noise: float
    apart: float


# Measured with the built-in genome (0.8 million parameters, 150,000 tokens of training) on a CPU, over draws of cuts:
#   float32                          2,039 cuts: gain 4e-9                drift 0
#   weights and logits in bfloat16   2,039 cuts: gain −2e-5 and 7e-5      drift 0
#   autocast, logits in float32        397 cuts: gain −1e-5 and 1.1e-4    drift 0
# Place by place the two answers are 1.7e-7 apart in the mean in float32 and 6e-4 in bfloat16 (bench/tolerances.py).
# That is, about 3e-3 nats of rounding at a place in bfloat16, 7e-5 in the mean of 2,048: the noise is three of those.
# A GPU adds up in another order for another batch size, which is what the drifts leave room for. Who claims the lower
# precision gains the larger tolerances, and no more: 2e-4 nats that are not taken back, and 1e-3 between repeats.
# The distance is what a mean cannot hide: whoever peeks at the windows, and in the other container does better without
# peeking because it learns from what it is asked there, has a gain of zero and yet two answers to every question.
FULL = Tolerance(drift=1e-4, noise=1e-5, apart=1e-3)
LOW = Tolerance(drift=1e-3, noise=2e-4, apart=1e-2)


class Asker(Protocol):
    """A model that answers questions; AskerFailed when it does not."""

    @property
    def low_precision(self) -> bool:
        """Whether the logits of an answer so far were in less than float32, by what it says."""

    def logits(
        self, tokens: Tokens, *, start: int = 0, stop: int | None = None, quick: bool = False
    ) -> NDArray[np.float32]: ...
    def flops(self, context: int) -> Counted: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Judgement:
    """What the judge found. With a `cause` there is no score. Losses are in nats per token.

    `gain` is the mean of loss_prefix − loss_window over `cuts` random places, `apart` the mean of its absolute value at
    each, `audit_bound` what can escape so many.
    `val_loss` is the window loss plus `correction`, which is the gain where that is positive and more than rounding: a
    negative one could be sought, by answering windows badly, until the draw of the cuts is lucky. `val_loss_error` is
    the standard error over windows, `drift` the largest change between repeats, `forward_tokens_per_second` what the
    model's forward pass reached here by the clock given, and `no_flops` why nobody counted its FLOPs.
    """

    cause: Cause | None = None
    detail: str = ""
    val_loss: float | None = None
    val_loss_error: float | None = None
    perplexity: float | None = None
    bits_per_byte: float | None = None
    correction: float | None = None
    gain: float | None = None
    apart: float | None = None
    cuts: int = 0
    audit_bound: float | None = None
    drift: float | None = None
    low_precision: bool = False
    scored_tokens: int = 0
    flops_per_token: float | None = None
    no_flops: str = ""
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
    rng: Rng,
    practice: Tokens | None = None,
    timed_bytes: int = MAX_PAYLOAD_BYTES,
    clock: Callable[[], float] = time.perf_counter,
    look: Callable[[], None] = lambda: None,
) -> Judgement:
    """Score the model behind `window` and `prefix` on `windows` [W, T + 1]; never raises for the model's own fault.

    `rng` draws the cuts of the prefixes: seed it only once the weights are frozen. The forward pass is timed on
    `practice`, tokens of training text, in questions whose logits have at most `timed_bytes`, by `clock`, in seconds of
    the device; None: not at all. `look` is called a few times a second while answers are waited for; what it raises
    ends the judgement.
    """
    started = time.monotonic()
    try:
        found = _Case(window, prefix, windows=windows, token_bytes=token_bytes, rng=rng, look=look).judgement(
            practice, timed_bytes=timed_bytes, clock=clock
        )
    except AskerFailed as failure:
        found = Judgement(cause=failure.cause, detail=failure.detail)
    except NotFinite as error:
        found = Judgement(cause=Cause.BAD_LOGITS, detail=str(error))
    except _Refused as refusal:
        found = Judgement(cause=refusal.cause, detail=refusal.detail)
    return replace(found, seconds=time.monotonic() - started)


def loss(asker: Asker, *, windows: Tokens, token_bytes: Floats) -> float | None:
    """Nats per token of the model behind `asker` on `windows` [W, T + 1]; None where it gives no number."""
    case = _Case(asker, asker, windows=windows, token_bytes=token_bytes, rng=np.random.default_rng(0), look=_nothing)
    try:
        columns = case._columns(asker.logits(windows[:1, :-1]))
        found = -float(case._nats(asker, np.arange(len(windows)), [ROWS] * len(windows), columns).mean())
    except (AskerFailed, NotFinite, _Refused):
        return None
    return found if math.isfinite(found) else None


def _nothing() -> None:
    """Nobody waits."""


class _Case:
    """One model before the judge. Its questions, in the order in which they are asked."""

    def __init__(
        self, window: Asker, prefix: Asker, *, windows: Tokens, token_bytes: Floats, rng: Rng,
        look: Callable[[], None],
    ) -> None:
        self.window, self.prefix, self.windows, self.rng, self.look = window, prefix, windows, rng, look
        self.token_bytes = token_bytes
        self.vocab_size, self.context = len(token_bytes), windows.shape[1] - 1

    def judgement(
        self, practice: Tokens | None, *, timed_bytes: int, clock: Callable[[], float]
    ) -> Judgement:
        columns = self._columns(self.window.logits(self.windows[:1, :-1], start=self.context - 1))
        cuts = audit.draw(windows=len(self.windows), context=self.context, rng=self.rng)
        found, alone = self._both(
            # In the order of the text, so that the same weights give the same number; the repeats are other orders.
            partial(self._nats, self.window, np.arange(len(self.windows)), [ROWS] * len(self.windows), columns),
            partial(self._alone, cuts),
        )
        drift = self._drift(found, columns)
        speed = None if practice is None else self._speed(practice, columns, timed_bytes, clock)
        counted, no_flops = self._count()
        low = self.window.low_precision or self.prefix.low_precision or counted.low_precision
        tolerance = LOW if low else FULL
        seen = np.concatenate([found[rows, length - 1] for length, rows in cuts.questions])
        gain, apart = float((seen - alone).mean()), float(np.abs(seen - alone).mean())
        if gain > MAX_GAIN:
            raise _Refused(Cause.PEEKED, f"it did better by {gain:.4f} nats where it could see what came after")
        if apart > tolerance.apart:
            raise _Refused(
                Cause.UNSTABLE, f"with and without what came after, its answers were {apart:.2g} nats apart at a place"
            )
        if drift > tolerance.drift:
            raise _Refused(Cause.UNSTABLE, f"the same windows, asked again, changed the loss by {drift:.2g} nats")
        return replace(
            self._score(found, correction=gain if gain > tolerance.noise else 0.0),
            gain=gain, apart=apart, cuts=cuts.count, audit_bound=audit.bound(cuts, columns=columns), drift=drift,
            low_precision=low, flops_per_token=counted.flops_per_token, parameters=counted.parameters,
            no_flops=no_flops, forward_tokens_per_second=speed,
        )

    def _score(self, found: Floats, *, correction: float) -> Judgement:
        per_window, targets = -found.mean(axis=1), self.windows[:, 1:]
        loss = float(per_window.mean()) + correction
        if not math.isfinite(loss) or loss > MAX_LOSS:
            raise _Refused(Cause.DIVERGED, f"the loss on held-out text is above {MAX_LOSS:.0f} nats per token")
        spread = float(per_window.std(ddof=1) / math.sqrt(len(per_window))) if len(per_window) > 1 else None
        return Judgement(
            val_loss=loss,
            val_loss_error=spread,
            perplexity=math.exp(loss),
            bits_per_byte=loss * targets.size / (math.log(2) * float(self.token_bytes[targets].sum())),
            correction=correction,
            scored_tokens=targets.size,
        )

    def _both(self, one: Callable[[], Floats], other: Callable[[], Floats]) -> tuple[Floats, Floats]:
        """Both at once, or one after the other where there is one container only. The first failure ends both."""
        if self.window is self.prefix:
            return one(), other()
        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(one), pool.submit(other)]
            try:
                while not _over(futures):
                    self.look()
                for future in [one for one in futures if one.done()]:
                    future.result()
                return futures[0].result(), futures[1].result()
            except BaseException:
                self.window.close()  # or the other thread would wait for its answer
                self.prefix.close()
                raise

    def _nats(self, asker: Asker, order: NDArray[np.int64], sizes: list[int], columns: int) -> Floats:
        """Log-probabilities of the true next tokens in the windows `order`, in questions of `sizes`: [n, T]."""
        found = np.empty((len(order), self.context))
        # Room for one window's positions only where a whole window would not fit into a message.
        places = max(MAX_PAYLOAD_BYTES // (4 * columns), 1)
        for begin, end in _chunks(len(order), sizes, most=max(places // self.context, 1)):
            rows = self.windows[order[begin:end]]
            for start in range(0, self.context, places):
                stop = min(start + places, self.context)
                logits = asker.logits(rows[:, :-1], start=start, stop=stop)
                self._columns(logits)
                found[begin:end, start:stop] = log_probabilities(logits, rows[:, start + 1 : stop + 1])
        return found

    def _alone(self, cuts: Cuts) -> Floats:
        """Log-probabilities of the token after each prefix, in the order of `cuts`: [n]."""
        return np.concatenate([
            self._after(self.prefix, self.windows[rows, : length + 1]) for length, rows in cuts.questions
        ])

    def _after(self, asker: Asker, rows: Tokens, *, quick: bool = False) -> Floats:
        """Log-probabilities of the last tokens of `rows` [B, T' + 1], asked for that position alone: [B]."""
        logits = asker.logits(np.ascontiguousarray(rows[:, :-1]), start=rows.shape[1] - 2, quick=quick)
        self._columns(logits)
        return log_probabilities(logits[:, 0], rows[:, -1])

    def _columns(self, logits: NDArray[np.float32]) -> int:
        """How many columns `logits` have, if as many as they should."""
        columns: int = logits.shape[-1]
        if columns < self.vocab_size:
            raise _Refused(Cause.BAD_LOGITS, f"logits for {columns} tokens where the text has {self.vocab_size}")
        if columns > max(2 * self.vocab_size, MAX_COLUMNS):
            raise _Refused(Cause.BAD_LOGITS, f"logits for {columns:,} tokens where the text has {self.vocab_size:,}")
        return columns

    def _drift(self, found: Floats, columns: int) -> float:
        """By how much the mean loss changes when some windows are asked again: the largest of two changes.

        Once the same container is asked, in another order, one by one and in another batch size. Once it is the prefix
        container's turn, whose answers on prefixes are in: one that learns from what it is asked, and remembers what it
        answered, would have to answer alike in two places that were asked different things.
        """
        count = max(REPEAT_TOKENS // self.context, 1)
        sizes = [1] * SINGLE_ROWS + [REPEAT_ROWS] * count
        first, second = (self.rng.permutation(len(self.windows))[:count] for _ in range(2))
        again, elsewhere = self._both(
            partial(self._nats, self.window, first, sizes, columns),
            partial(self._nats, self.prefix, second, sizes, columns),
        )
        return max(_apart(again, found[first]), _apart(elsewhere, found[second]))

    def _speed(self, practice: Tokens, columns: int, timed_bytes: int, clock: Callable[[], float]) -> float | None:
        """Tokens per second of the forward pass: the best of a few large batches of text that nobody asked before.

        Only the last position comes back, so that the transfer does not count; and some of what was answered in haste
        is asked again of the other container. None where the clock is too coarse for so fast a model.
        """
        width = self.context + 1
        most = max(timed_bytes // (4 * columns * self.context), 1)
        count, best, kept = min(max(SPEED_TOKENS // self.context, 1), most), 0.0, []
        for _ in range(SPEED_TRIES):
            places = self.rng.integers(len(practice) - width, size=count, endpoint=True)
            rows = practice[places[:, None] + np.arange(width)]
            began = clock()
            logits = self.window.logits(np.ascontiguousarray(rows[:, :-1]), start=self.context - 1, quick=True)
            seconds = clock() - began
            self._columns(logits)
            best = max(best, count * self.context / seconds) if seconds > 0 else math.inf
            kept.append((rows[:SPEED_ROWS], log_probabilities(logits[:SPEED_ROWS, 0], rows[:SPEED_ROWS, -1])))
            count = min(2 * count, most) if seconds < SHORT_SECONDS else count
        self.look()
        rows, hasty = kept[self.rng.integers(len(kept))]
        drift = _apart(hasty, self._after(self.prefix, rows))
        if drift > SPEED_DRIFT:
            raise _Refused(Cause.UNSTABLE, f"when it was timed it answered otherwise, by {drift:.2g} nats")
        return best if math.isfinite(best) else None

    def _count(self) -> tuple[Counted, str]:
        """What one step costs, by a container whose answers no longer matter; or nothing, and why."""
        try:
            return self.prefix.flops(self.context), ""
        except AskerFailed as failure:
            return Counted(), failure.detail


def _over(futures: list[Future[Floats]]) -> bool:
    """Whether all are done, or one has failed."""
    done, waiting = wait(futures, timeout=LOOK_SECONDS, return_when=FIRST_EXCEPTION)
    return not waiting or any(one.exception() is not None for one in done)


def _apart(one: Floats, other: Floats) -> float:
    return abs(float(one.mean() - other.mean()))


def _chunks(count: int, sizes: list[int], *, most: int) -> Iterator[tuple[int, int]]:
    """0 … `count` in pieces of `sizes`, none larger than `most`."""
    start = 0
    for size in sizes:
        if start >= count:
            return
        end = min(start + min(size, most), count)
        yield start, end
        start = end
