"""Means, gains and deviations with their 95 % intervals: plain mathematics, so that the web process can afford it.

All functions give None where there are fewer than two values: one seed has no interval, it is unreplicated.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist, fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate from `count` values and the limits of its 95 % interval, all in the unit of the values."""

    value: float
    low: float
    high: float
    count: int


def mean(values: Sequence[float]) -> Interval | None:
    """The mean with Student's interval. ValueError for a value that is not finite."""
    _finite(values)
    if len(values) < 2:
        return None
    middle = fmean(values)
    half = t_quantile((1 + CONFIDENCE) / 2, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Interval(middle, middle - half, middle + half, len(values))


def paired_gain(champion: Sequence[float], challenger: Sequence[float]) -> Interval | None:
    """The mean of champion − challenger over pairs of the same seed, losses in nats; positive: the challenger wins.

    ValueError unless both have the same length.
    """
    return mean([old - new for old, new in zip(champion, challenger, strict=True)])


def deviation(values: Sequence[float]) -> Interval | None:
    """The standard deviation (of n − 1) with the χ² interval of normal values. ValueError as in `mean`."""
    _finite(values)
    if len(values) < 2:
        return None
    free = len(values) - 1
    size = stdev(values)
    low, high = (size * math.sqrt(free / chi2_quantile(p, free)) for p in ((1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2))
    return Interval(size, low, high, len(values))


@cache
def t_quantile(probability: float, free: int) -> float:
    """Student's t with `free` degrees of freedom (an integer ≥ 1): the value not exceeded with this probability."""
    if probability < 0.5:
        return -t_quantile(1 - probability, free)
    return _solve(lambda t: _t_below(t, free), probability)


@cache
def chi2_quantile(probability: float, free: int) -> float:
    """χ² with `free` degrees of freedom: the value not exceeded with this probability."""
    return _solve(lambda x: _gamma_below(free / 2, x / 2), probability)


def _t_below(t: float, free: int) -> float:
    """P(T ≤ t) for t ≥ 0 (Abramowitz & Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(free))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = free % 2 == 1
    term = cosine if odd else 1.0
    total = 0.0 if free == 1 else term
    for k in range(2 + odd, free - 1, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return (1 + inside) / 2


def _gamma_below(shape: float, x: float) -> float:
    """The regularised lower incomplete gamma function by its series (Abramowitz & Stegun 6.5.29)."""
    if x <= 0:
        return 0.0
    term = math.exp(shape * math.log(x) - x - math.lgamma(shape + 1))
    total, k = term, shape
    while term > total * 1e-17 or k < x:
        k += 1
        term *= x / k
        total += term
        if term == 0.0:
            break
    return min(total, 1.0)


def _solve(below: Callable[[float], float], probability: float) -> float:
    """The x ≥ 0 at which the increasing function `below` reaches `probability`, by bisection."""
    if not 0 < probability < 1:
        raise ValueError("a probability lies between 0 and 1")
    low, high = 0.0, 1.0
    while below(high) < probability:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < probability else (low, middle)
    return (low + high) / 2


def _finite(values: Sequence[float]) -> None:
    if not all(math.isfinite(one) for one in values):
        raise ValueError("an interval needs finite values")


def wilson(successes: int, trials: int) -> Interval | None:
    """A share with its 95 % score interval (Wilson 1927), which keeps within 0 … 1 and is sound for few trials.

    None without trials. ValueError unless 0 <= successes <= trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError("successes are some of the trials")
    if trials == 0:
        return None
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share, weight = successes / trials, 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / weight
    half = z / weight * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return Interval(share, max(middle - half, 0.0), min(middle + half, 1.0), trials)
