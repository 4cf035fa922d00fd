"""How sure it is that a challenger beats the champion: e-values on paired differences, which may be looked at any time.

An e-value is a number whose mean is at most 1 where there is nothing to find, so that it reaches K at any time with a
probability of at most 1 / K (Ville 1939). Seeds may therefore be added until it is enough. Ours is the safe t-test:
Pérez-Ortiz, Lardy, de Heide & Grünwald 2024, "E-statistics, group invariance and anytime-valid testing", Annals of
Statistics 52(4). Differences are taken as normal, with a mean and a deviation that nobody knows.
"""

import math
from collections.abc import Sequence
from enum import Enum
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]

# The effect sizes of the mixture, a mean gain in standard deviations of a pair's difference, each with the same weight.
# Chosen by simulation: what eight pairs can prove begins at about 1.5, so that smaller ones only dilute the rest.
EFFECTS: Numbers = np.array([1.5, 2.0, 3.0, 4.0, 6.0])
WEIGHTS: Numbers = np.full(EFFECTS.size, 1.0 / EFFECTS.size)
MAX_PAIRS = 8
FUTILE = 0.2  # below this e-value a contest is given up …
# … but never for one unlucky seed, nor before there is an interval to show. By simulation: a change that does nothing
# costs 2.7 pairs so (2.2 without this minimum, 3.5 with three) and no promotion is lost; where 20 pairs are allowed, a
# gain of one deviation is promoted 40 % of the time (39 % and 42 %).
MIN_PAIRS_TO_GIVE_UP = 2
ERROR_RATE = 0.01  # of all promotions of an experiment together

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(160)


class Verdict(Enum):
    """What a contest's rule says after a pair."""

    CONTINUE = "one more pair"
    PROMOTE = "the challenger is better"
    FUTILE = "the challenger is hardly better"
    UNDECIDED = "all pairs were run, and they prove nothing"


def threshold(contest: int) -> float:
    """The e-value at which contest number `contest` (from 1) of an experiment promotes: 100·j·(j + 1).

    Its error is at most 1 / threshold, and Σ 1 / (100·j·(j + 1)) = 1 %: that of all contests together, however many.
    ValueError for a number below 1.
    """
    if contest < 1:
        raise ValueError("contests are counted from 1")
    return contest * (contest + 1) / ERROR_RATE


def verdict(differences: Sequence[float], *, contest: int, max_pairs: int = MAX_PAIRS) -> Verdict:
    """What to do after these pairs; to be asked after each.

    `differences`: the champion's loss − the challenger's in nats, one for each pair, in any order. Giving up never
    costs validity, only the chance to see a small effect. ValueError as in `e_value`.
    """
    evidence = e_value(differences)
    if evidence >= threshold(contest):
        return Verdict.PROMOTE
    if len(differences) >= max_pairs:
        return Verdict.UNDECIDED
    if len(differences) >= MIN_PAIRS_TO_GIVE_UP and evidence < FUTILE:
        return Verdict.FUTILE
    return Verdict.CONTINUE


def e_value(differences: Sequence[float]) -> float:
    """The evidence that the mean difference is above 0, against that it is not: 1 says nothing, 200 is a lot.

    `differences`: the champion's loss − the challenger's in nats, of the same seed and the same stream of text;
    positive is better. A mixture, over the effect sizes δ of EFFECTS, of the likelihood ratio of what does not depend
    on the scale: with s = Σd / √Σd²,

        E(δ) = ∫ vⁿ⁻¹ exp(−v²/2 + δ·v·s − n·δ²/2) dv / ∫ vⁿ⁻¹ exp(−v²/2) dv

    which is a Bayes factor with the right Haar prior 1/σ. Under a mean of 0 or less its mean is at most 1. Without
    any pair it is 1; where no pair differs at all it is below 1. ValueError for a number that is not finite.
    """
    numbers = np.asarray(differences, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("an e-value needs finite differences")
    if numbers.size == 0:
        return 1.0
    return float(np.exp(log_e_value(numbers.size, _standing(numbers))))


def log_e_value(pairs: int, standing: ArrayLike) -> Numbers:
    """log of the e-value of `pairs` differences with s = `standing` (any shape, each within ±√pairs); same shape."""
    s = np.asarray(standing, dtype=np.float64)
    parts: Any = [
        math.log(weight) + _log_integral(pairs - 1, effect * s) - pairs * effect**2 / 2
        for effect, weight in zip(EFFECTS, WEIGHTS, strict=True)
    ]
    whole: Numbers = np.logaddexp.reduce(parts, axis=0) - _log_half_normal(pairs)
    return whole


def standings(differences: ArrayLike) -> Numbers:
    """s = Σd / √Σd² after each of the pairs of the last axis; 0 as long as no pair differs. Same shape."""
    d = np.asarray(differences, dtype=np.float64)
    largest = np.abs(d).max(axis=-1, keepdims=True, initial=0.0)
    d = d / np.where(largest > 0, largest, 1.0)  # so that no square is lost to underflow
    size = np.sqrt(np.cumsum(d**2, axis=-1))
    result: Numbers = np.divide(np.cumsum(d, axis=-1), size, out=np.zeros_like(d), where=size > 0)
    return result


def _standing(numbers: Numbers) -> float:
    return float(standings(numbers)[-1])


@cache
def _log_half_normal(pairs: int) -> float:
    """log ∫ vⁿ⁻¹ exp(−v²/2) dv from 0 to ∞."""
    return (pairs / 2 - 1) * math.log(2) + math.lgamma(pairs / 2)


def _log_integral(power: int, slope: Numbers) -> Numbers:
    """log ∫ v^power · exp(−v²/2 + slope·v) dv from 0 to ∞, for any slope.

    By Gauss–Legendre around the integrand's peak: it is log-concave and nowhere wider than a standard normal, so that
    what lies beyond 12 from the peak is below 1e-31 of it.
    """
    peak = _peak(power, slope)
    # A slope below 0 makes it a gamma density of this rate, which ends far sooner.
    width = np.minimum(12.0, 40.0 * (1.0 + math.sqrt(power)) / np.maximum(-slope, 1.0))
    low, high = np.maximum(peak - 12.0, 0.0), peak + width
    half = (high - low) / 2
    v = low[..., None] + half[..., None] * (_NODES + 1)  # (…, nodes)
    logs = power * np.log(v) - v**2 / 2 + slope[..., None] * v + np.log(_NODE_WEIGHTS)
    top = logs.max(axis=-1)
    result: Numbers = top + np.log(np.exp(logs - top[..., None]).sum(axis=-1)) + np.log(half)
    return result


def _peak(power: int, slope: Numbers) -> Numbers:
    """Where v^power · exp(−v²/2 + slope·v) is largest on v ≥ 0, without cancellation for slopes below 0."""
    root = np.sqrt(slope**2 + 4 * power)
    below: Numbers = np.divide(2 * power, root - slope, out=np.zeros_like(root), where=root - slope > 0)
    result: Numbers = np.where(slope > 0, (slope + root) / 2, below)
    return result
