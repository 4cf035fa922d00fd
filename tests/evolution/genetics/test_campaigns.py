"""Whole campaigns, simulated: the champion's rule promotes nothing that does nothing, and what is better soon.

A campaign is five generations of ten variants. Everyone runs one common screening seed; the best two that look better
than the champion meet it on fresh paired seeds, one contest after the other.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from evolution.genetics import power
from evolution.genetics.evidence import threshold
from evolution.genetics.intervals import t_quantile

GENERATIONS, POPULATION, CHALLENGERS, MAX_PAIRS = 5, 10, 2, 8
SCREENING, PAIRED = 0.020, 0.0074  # standard deviations in nats, of a seed and of a pair's difference
PROMISED = 0.01
Numbers = NDArray[np.float64]
Noise = Callable[[tuple[int, ...]], Numbers]  # differences of pairs without an effect
Effects = Callable[[np.random.Generator, tuple[int, ...]], Numbers]  # true gains of variants


@dataclass
class Campaigns:
    """Of each campaign: how often it promoted, how often what is not better, the champion's true gain, and trials."""

    promotions: NDArray[np.int64]
    false: NDArray[np.int64]
    gain: Numbers
    trials: NDArray[np.int64]

    @property
    def wrong(self) -> int:
        return int((self.false > 0).sum())


def nothing(rng: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    return np.zeros(shape)


def some_help(rng: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    """One change in eight gains 3 % of perplexity; the others do nothing, or harm."""
    harm = -np.abs(rng.normal(0.0, 0.02, shape)) * (rng.random(shape) < 0.5)
    return np.where(rng.random(shape) < 1 / 8, 0.03, harm)


def campaigns(count: int, effects: Effects, *, seed: int, noise: Noise | None = None) -> Campaigns:
    """Run `count` campaigns side by side under the champion's rule."""
    rng = np.random.default_rng(seed)
    noise = noise or (lambda shape: rng.normal(0.0, PAIRED, shape))
    done = Campaigns(*(np.zeros(count, dtype=kind) for kind in (int, int, float, int)))
    contest, rows = np.zeros(count, dtype=int), np.arange(count)
    for _ in range(GENERATIONS):
        change = effects(rng, (count, POPULATION))
        seen = change + rng.normal(0.0, SCREENING, change.shape) / math.sqrt(2)
        bar = rng.normal(0.0, SCREENING, count) / math.sqrt(2)  # the champion's own luck on the screening seed
        done.trials += POPULATION
        start = done.gain.copy()
        fresh = np.zeros(count, dtype=int)  # the champion's runs of this generation
        for place in range(1, CHALLENGERS + 1):
            pick = np.argsort(seen, axis=1)[:, -place]
            meets = seen[rows, pick] > bar
            better = start + change[rows, pick] - done.gain
            contest += meets
            told = power.ends(better[:, None] + noise((count, MAX_PAIRS)), contest=np.maximum(contest, 1))
            won = told.promoted & meets
            done.trials += np.where(meets, told.pairs + np.maximum(told.pairs - fresh, 0), 0)
            # A new champion's runs are there already; so are the old one's, up to the longest contest.
            fresh = np.where(meets, np.where(won, told.pairs, np.maximum(fresh, told.pairs)), fresh)
            done.promotions += won
            done.false += won & (better <= 0)
            done.gain = np.where(won, done.gain + better, done.gain)
    return done


def lower_limit(wrong: int, count: int) -> float:
    """The rate above which it lies with 97.5 % (Clopper & Pearson 1934), by bisection of the binomial's tail."""
    if wrong == 0:
        return 0.0
    low, high = 0.0, wrong / count
    for _ in range(60):
        p = (low + high) / 2
        below = sum(
            math.exp(math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
                     + k * math.log(p) + (count - k) * math.log1p(-p))
            for k in range(wrong)
        )
        low, high = (p, high) if 1 - below < 0.025 else (low, p)
    return low


def test_the_limit_of_a_rate_is_the_known_one() -> None:
    assert lower_limit(5, 100) == pytest.approx(0.0164, abs=1e-4)
    assert lower_limit(7, 300) < PROMISED < lower_limit(8, 300)


def test_300_null_campaigns_keep_the_promise() -> None:
    """At most 7 of 300 are within the 95 % interval around 1 %; eight would have a lower limit above it."""
    assert lower_limit(campaigns(300, nothing, seed=1).wrong, 300) <= PROMISED


def test_6000_null_campaigns_keep_it_more_narrowly() -> None:
    assert campaigns(6_000, nothing, seed=2).wrong / 6_000 < PROMISED


def test_a_lower_threshold_breaks_the_promise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control of the two tests above: what they would find if the rule were laxer."""
    monkeypatch.setattr(power, "threshold", lambda contest: 3.0)
    assert lower_limit(campaigns(300, nothing, seed=1).wrong, 300) > 10 * PROMISED


def test_a_rule_without_a_count_of_contests_errs_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    strict = campaigns(6_000, nothing, seed=3).wrong
    monkeypatch.setattr(power, "threshold", lambda contest: threshold(1))
    assert campaigns(6_000, nothing, seed=3).wrong > 2 * strict


def test_a_greedy_loop_is_fooled_nearly_always() -> None:
    """Ten variants that do nothing, and the best screening number leads."""
    rng = np.random.default_rng(4)
    luck = rng.normal(0.0, SCREENING, (300, GENERATIONS * POPULATION + 1))
    assert (luck[:, 1:].max(axis=1) > luck[:, 0]).mean() > 0.9


@pytest.mark.parametrize("tails", [3, 5])
def test_heavier_tails_than_the_normal_keep_the_promise(tails: int) -> None:
    rng = np.random.default_rng(5)
    wrong = campaigns(3_000, nothing, seed=5, noise=lambda shape: PAIRED * rng.standard_t(tails, shape)).wrong
    assert lower_limit(wrong, 3_000) <= PROMISED


def test_what_is_better_is_promoted_and_little_else() -> None:
    found = campaigns(1_000, some_help, seed=6)
    assert (found.gain >= 0.03 - 1e-9).mean() > 0.8
    assert found.wrong / 1_000 < PROMISED


def test_it_takes_far_fewer_trials_than_five_pairs_for_everybody() -> None:
    """A t-test on five pairs of every variant, corrected for all fifty (Bonferroni): more than twice the cost."""
    ours = campaigns(1_000, some_help, seed=7)
    gain, trials = five_pairs_for_everybody(1_000, seed=7)
    assert ours.trials.mean() < trials / 2
    assert ours.gain.mean() > gain


def five_pairs_for_everybody(count: int, *, seed: int) -> tuple[float, int]:
    """The mean true gain of the champion, and the trials of a campaign."""
    rng = np.random.default_rng(seed)
    bar = t_quantile(1 - PROMISED / (GENERATIONS * POPULATION), 4)
    gain = np.zeros(count)
    for _ in range(GENERATIONS):
        change = some_help(rng, (count, POPULATION))
        pairs = change[..., None] + rng.normal(0.0, PAIRED, (count, POPULATION, 5))
        t = pairs.mean(axis=-1) / (pairs.std(axis=-1, ddof=1) / math.sqrt(5))
        best = np.where(t > bar, pairs.mean(axis=-1), -np.inf).argmax(axis=1)
        rows = np.arange(count)
        gain += np.where(t[rows, best] > bar, change[rows, best], 0.0)
    return float(gain.mean()), GENERATIONS * (POPULATION + 1) * 5
