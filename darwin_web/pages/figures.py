"""The numbers of a variant as pages and charts show them: with an interval, or as nothing with a cause."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from evolution.models import Variant

NORMAL_95 = 1.96


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
