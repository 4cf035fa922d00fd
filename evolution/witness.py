"""What the numbers say without anybody's opinion: an operator's own record, and a result against the noise."""

import math
import re
from dataclasses import dataclass

from evolution.genetics import intervals
from evolution.models import Kind, Opinion, Status, Variant
from evolution.records import IN_VAIN, JUDGED, change

RECORD = "record"
OPERATOR = "operator:"
NORMAL_95 = 1.96


@dataclass(frozen=True, kw_only=True)
class Said:
    """One opinion with its reasons; `opinion` is empty where there is none."""

    text: str
    opinion: str = ""
    is_what_it_says: bool | None = None
    risk: str = ""
    assessor: str = RECORD
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0


def before(variant: Variant) -> Said | None:
    """How the operator that made `variant` did in this experiment so far; None when no operator made it.

    An opinion only where the 95 % interval of its mean gain leaves zero out.
    """
    if not variant.author.startswith(OPERATOR):
        return None
    idea = _idea(variant.author)
    alike = variant.author.partition("_x")[0]  # the database narrows down, the idea decides
    others = variant.experiment.variants.filter(author__startswith=alike, number__lt=variant.number)
    same = [one for one in others.select_related("parent") if _idea(one.author) == idea]
    gains = [gain for one in same if one.status in JUDGED and (gain := gain_of(one)) is not None]
    vain = [one for one in same if one.status in IN_VAIN and one.status != Status.DUPLICATE]
    interval = intervals.mean(gains)
    opinion = "" if interval is None else Opinion.SOUND if interval.low > 0 else _harmful(interval)
    return Said(text=f"{idea} {_measured(gains, interval)}{_vain(vain)}.", opinion=opinion)


def after(variant: Variant) -> Said:
    """Whether `variant` has the lower perplexity that every change is for, by rule; open within the noise."""
    gain, noise, origin = gain_of(variant), noise_of(variant), reference(variant)
    if gain is None or origin is None:
        return Said(text="There is no number of its parent to compare with.", opinion=Opinion.OPEN)
    told = (
        f"Perplexity {origin.perplexity:.4g} of {origin} to {variant.perplexity:.4g} ({percent(gain)}) on one seed, a "
        f"gain of {_signed(gain)} nats"
    )
    if noise is None:
        return Said(text=f"{told}; how large the noise is, is not known.", opinion=Opinion.OPEN)
    opinion = Opinion.OPEN if abs(gain) <= noise.half else Opinion.CONFIRMED if gain > 0 else Opinion.REFUTED
    return Said(text=f"{told}, where ±{noise.half:.4f} is noise ({noise.source}){_speed(variant)}.", opinion=opinion)


@dataclass(frozen=True)
class Noise:
    """Half the width of the 95 % interval of a gain where nothing was changed, nats, and what it was found from."""

    half: float
    source: str


def noise_of(variant: Variant) -> Noise | None:
    """How much the gain of `variant` may be chance: calibrated, else from the sampled text alone."""
    calibrated = (variant.experiment.noise.get("pair_sd") or {}).get("value")
    if calibrated:
        return Noise(NORMAL_95 * calibrated, "calibrated on the baseline")
    origin = reference(variant)
    if origin is None or variant.val_loss_error is None or origin.val_loss_error is None:
        return None
    error = math.hypot(variant.val_loss_error, origin.val_loss_error)
    return Noise(NORMAL_95 * error, "of the sampled text; that of seeds is not calibrated")


def reference(variant: Variant) -> Variant | None:
    """What `variant` is compared with: its parent, or for a repair the nearest ancestor that was measured."""
    origin = variant.parent
    while origin is not None and variant.kind == Kind.REPAIR and origin.status not in JUDGED:
        origin = origin.parent
    return origin


def gain_of(variant: Variant) -> float | None:
    """The fall of the log-perplexity against the reference, nats."""
    origin = reference(variant)
    return change(origin.perplexity if origin else None, variant.perplexity)


def percent(gain: float) -> str:
    """A gain in nats as the change of the perplexity: 0.02 is −2.0 %."""
    return f"{100 * math.expm1(-gain):+.1f} %".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.4f}".replace("-", "−")


def _idea(author: str) -> str:
    """The operator; of those that turn a knob by a random factor the knob and the direction."""
    name = author.removeprefix(OPERATOR)
    turned = re.fullmatch(r"(\w+)_x(\d+(?:\.\d+)?)", name)
    if turned is None:
        return name
    return f"{turned[1]} turned {'up' if float(turned[2]) > 1 else 'down'}"


def _harmful(interval: intervals.Interval) -> str:
    return Opinion.HARMFUL if interval.high < 0 else ""


def _measured(gains: list[float], interval: intervals.Interval | None) -> str:
    if not gains:
        return "has not been measured in this experiment before"
    if interval is None:
        return f"was measured once here: perplexity {percent(gains[0])} against its parent, one run without an interval"
    return (
        f"was measured {interval.count} times here: perplexity {percent(interval.value)} against its parent on "
        f"average, 95 % interval {percent(interval.high)} to {percent(interval.low)}"
    )


def _vain(variants: list[Variant]) -> str:
    if not variants:
        return ""
    vetoed = sum(one.status == Status.VETOED for one in variants)
    said = [f"{count} {word}" for count, word in ((vetoed, "vetoed"), (len(variants) - vetoed, "failed")) if count]
    return f"; {' and '.join(said)}"


def _speed(variant: Variant) -> str:
    origin = reference(variant)
    if origin is None or variant.mfu is None or origin.mfu is None:
        return ""
    return f"; MFU {100 * origin.mfu:.1f} % to {100 * variant.mfu:.1f} %"
