"""How much a change helped: nats of loss against the code it changed, with what is known of the noise."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evolution.genetics import intervals
from evolution.genetics.intervals import Interval


@dataclass(frozen=True)
class Runs:
    """The losses of one variant, nats per token: of its screening run, and of its confirmation runs by seed."""

    screened: float | None = None
    by_seed: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Effect:
    """A difference of two losses in nats, child − parent: negative is better. `seeds` pairs stand behind it.

    The limits are those of the 95 % interval; None with one seed and a noise that nobody calibrated.
    """

    nats: float
    low: float | None = None
    high: float | None = None
    seeds: int = 1

    @property
    def is_replicated(self) -> bool:
        return self.seeds > 1

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def half(self) -> float | None:
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


def effect(child: Runs, parent: Runs, *, one_seed: float | None) -> Effect | None:
    """The change of the loss: over shared confirmation seeds where there are two, else of the screening run.

    `one_seed`: what two runs of the same code differ by at most, in 95 % of pairs (nats, `manage.py calibrate`).
    """
    seeds = sorted({*child.by_seed} & {*parent.by_seed})
    paired = intervals.paired_gain([child.by_seed[seed] for seed in seeds], [parent.by_seed[seed] for seed in seeds])
    if paired is not None:
        return Effect(paired.value, paired.low, paired.high, paired.count)
    if child.screened is None or parent.screened is None:
        return None
    nats = child.screened - parent.screened
    return Effect(nats) if one_seed is None else Effect(nats, nats - one_seed, nats + one_seed)


def one_seed(noise: Mapping[str, Any]) -> float | None:
    """Half the 95 % interval of a difference that stands on one seed, in nats; None before a calibration."""
    found = (noise.get("one_seed") or {}).get("nats")
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else None


def pooled(effects: Sequence[Effect]) -> Interval | None:
    """The mean of several changes with Student's interval over the changes; None for fewer than two."""
    return intervals.mean([one.nats for one in effects])


def loss_of(perplexity: float | None) -> float | None:
    """Nats per token; the perplexity is exp of it."""
    return math.log(perplexity) if perplexity else None


def nats(value: float) -> str:
    """"−0.021": with its sign, to thousandths, finer where that would be nothing."""
    digits = 3 if abs(value) >= 0.0005 or value == 0 else 5
    return f"{'−' if value < 0 else '+'}{abs(value):.{digits}f}"
