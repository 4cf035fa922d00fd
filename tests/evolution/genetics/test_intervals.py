"""Means, gains and deviations with their intervals, against printed tables and by coverage."""

import math
from random import Random

import pytest

from evolution.genetics.intervals import chi2_quantile, deviation, mean, paired_gain, t_quantile, wilson

# Printed tables (Fisher & Yates): the 0.975 quantile of Student's t, and of χ² the 0.025 and the 0.975 quantile.
T_975 = {1: 12.7062, 2: 4.30265, 3: 3.18245, 4: 2.77645, 5: 2.57058, 7: 2.36462, 10: 2.22814, 30: 2.04227, 120: 1.97993}
CHI2 = {1: (0.000982, 5.02389), 2: (0.050636, 7.37776), 5: (0.831212, 12.8325), 10: (3.24697, 20.4832),
        30: (16.7908, 46.9792)}


@pytest.mark.parametrize(("free", "expected"), T_975.items())
def test_the_t_quantile_is_the_printed_one(free: int, expected: float) -> None:
    assert t_quantile(0.975, free) == pytest.approx(expected, rel=2e-5)
    assert t_quantile(0.025, free) == -t_quantile(0.975, free)


def test_the_t_quantile_of_a_one_sided_strict_test() -> None:
    assert t_quantile(0.9995, 4) == pytest.approx(8.610, abs=1e-3)
    assert t_quantile(0.5, 4) == pytest.approx(0.0, abs=1e-9)


def test_with_many_values_the_t_quantile_is_the_normal_one() -> None:
    assert t_quantile(0.975, 5_000) == pytest.approx(1.95996, abs=1e-3)


@pytest.mark.parametrize(("free", "expected"), CHI2.items())
def test_the_chi_squared_quantiles_are_the_printed_ones(free: int, expected: tuple[float, float]) -> None:
    found = chi2_quantile(0.025, free), chi2_quantile(0.975, free)
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("impossible", [0.0, 1.0, -0.1, 1.1, math.nan])
def test_what_is_no_probability_is_refused(impossible: float) -> None:
    with pytest.raises(ValueError, match="probability"):
        chi2_quantile(impossible, 3)


def test_a_mean_comes_with_students_interval() -> None:
    found = mean([1.0, 2.0, 3.0])
    assert found is not None
    assert (found.value, found.count) == (2.0, 3)
    assert found.high - 2.0 == pytest.approx(4.30265 / math.sqrt(3), rel=1e-5)
    assert found.low == pytest.approx(4.0 - found.high)


def test_a_gain_is_that_of_the_pairs() -> None:
    """What both seeds share, here 1 and 5, is no noise of the gain."""
    found = paired_gain([1.03, 5.01], [1.01, 5.0])
    assert found is not None
    assert found.value == pytest.approx(0.015)
    assert found.high - found.low < 0.2


def test_pairs_without_a_partner_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired_gain([1.0, 2.0], [1.0])


@pytest.mark.parametrize("few", [[], [1.5]])
def test_fewer_than_two_values_have_no_interval(few: list[float]) -> None:
    assert mean(few) is None
    assert deviation(few) is None
    assert paired_gain(few, few) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_number_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        mean([1.0, bad])
    with pytest.raises(ValueError, match="finite"):
        deviation([1.0, bad])


def test_equal_values_have_an_interval_of_no_width() -> None:
    found = mean([0.5, 0.5, 0.5])
    assert found is not None
    assert found.low == found.value == found.high


@pytest.mark.parametrize("count", [2, 6])
def test_the_intervals_hold_the_truth_in_95_of_100(count: int) -> None:
    rng = Random(count)
    held = held_deviation = 0
    for _ in range(4_000):
        values = [rng.gauss(1.0, 0.02) for _ in range(count)]
        middle, spread = mean(values), deviation(values)
        assert middle is not None
        assert spread is not None
        held += middle.low <= 1.0 <= middle.high
        held_deviation += spread.low <= 0.02 <= spread.high
    assert 0.94 < held / 4_000 < 0.96
    assert 0.94 < held_deviation / 4_000 < 0.96


@pytest.mark.parametrize(("successes", "trials", "low", "high"), [
    (0, 10, 0.0, 0.2775), (1, 6, 0.0301, 0.5635), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0),
])
def test_the_interval_of_a_share_is_wilsons(successes: int, trials: int, low: float, high: float) -> None:
    found = wilson(successes, trials)
    assert found is not None
    assert found.value == successes / trials
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)


def test_a_share_of_nothing_is_unknown_and_more_than_all_is_refused() -> None:
    assert wilson(0, 0) is None
    with pytest.raises(ValueError, match="some of the trials"):
        wilson(3, 2)
