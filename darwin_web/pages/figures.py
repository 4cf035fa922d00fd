"""The numbers of a variant as pages and charts show them: with an interval, or as nothing with a cause."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evolution.genetics import intervals
from evolution.models import Variant

NORMAL_95 = 1.96
TWO_SIDED = (1 + intervals.CONFIDENCE) / 2


@dataclass(frozen=True)
class Claim:
    """A number as it may be claimed: the mean over seeds with its 95 % interval, or of one seed and unreplicated."""

    value: float | None
    low: float | None = None
    high: float | None = None
    seeds: int = 1

    @property
    def is_replicated(self) -> bool:
        return self.low is not None

    @property
    def half(self) -> float | None:
        """Half the width of the interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def error(self) -> float | None:
        """The standard error of the mean."""
        return None if self.half is None else self.half / intervals.t_quantile(TWO_SIDED, self.seeds - 1)


def claims(variant: Variant) -> dict[str, Claim]:
    """What may be claimed of `variant`, by name: from its confirmation runs, with fewer than two from the screening."""
    runs = [one for one in variant.replicates.all() if one.verdict == "measured" and one.val_loss is not None]
    found = {
        name: _claim(getattr(variant, name), [getattr(run, name) for run in runs])
        for name in ("val_loss", "mfu", "tokens_per_second", "device_seconds")
    }
    return {**found, "perplexity": _exponential(found["val_loss"], variant.perplexity)}


def _claim(screened: float | None, values: Sequence[float | None]) -> Claim:
    known = [value for value in values if value is not None]
    interval = intervals.mean(known) if len(known) == len(values) else None
    if interval is None:
        return Claim(screened)
    return Claim(interval.value, interval.low, interval.high, interval.count)


def _exponential(loss: Claim, screened: float | None) -> Claim:
    """The perplexity of a mean loss in nats; an interval keeps its coverage under exp."""
    if loss.value is None or loss.low is None or loss.high is None:
        return Claim(screened)
    return Claim(math.exp(loss.value), math.exp(loss.low), math.exp(loss.high), loss.seeds)


@dataclass(frozen=True)
class Measured:
    """A perplexity and half the width of its 95 % interval from the sampled text; one seed, so unreplicated."""

    number: int
    title: str
    perplexity: float
    error: float | None
    change: float | None  # against the baseline, as a share
    mfu: float | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def perplexity_error(variant: Variant) -> float | None:
    """Half the 95 % interval of exp(loss), from the standard error of the mean loss (delta method)."""
    if variant.perplexity is None or variant.val_loss_error is None:
        return None
    return variant.perplexity * math.expm1(NORMAL_95 * variant.val_loss_error)


def measured(variant: Variant | None, baseline: Variant | None) -> Measured | None:
    if variant is None or variant.perplexity is None:
        return None
    return Measured(
        number=variant.number, title=variant.title, perplexity=variant.perplexity, error=perplexity_error(variant),
        change=change(variant.perplexity, baseline.perplexity if baseline else None), mfu=variant.mfu,
    )


def change(value: float | None, reference: float | None) -> float | None:
    """`value` against `reference`, as a share: −0.02 is two per cent lower."""
    return None if value is None or not reference else value / reference - 1
