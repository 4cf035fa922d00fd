"""Means, gains and deviations with their intervals, against printed tables and by coverage."""

import math
from random import Random

import pytest

from evolution.genetics.intervals import chi2_quantile, deviation, kappa, mean, paired_gain, ratio, share, t_quantile

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


def test_wilsons_interval_is_the_published_one_and_stays_within_bounds() -> None:
    found = share(81, 263)  # Newcombe 1998, Two-sided confidence intervals for the single proportion, table I
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.3080, 0.2553, 0.3662), abs=5e-5)
    none, all_of_them = share(0, 20), share(20, 20)
    assert none is not None
    assert all_of_them is not None
    assert (none.low, none.high) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert all_of_them.high == 1.0
    assert share(0, 0) is None
    with pytest.raises(ValueError, match="successes"):
        share(3, 2)


def test_cohens_kappa_is_the_textbook_one() -> None:
    assert kappa(20, 5, 10, 15) == pytest.approx(0.4)  # 50 grants, two readers: observed 0.70, by chance 0.50
    assert kappa(7, 0, 0, 3) == pytest.approx(1.0)
    assert kappa(5, 5, 5, 5) == pytest.approx(0.0)
    assert kappa(9, 0, 0, 0) is None
    assert kappa(0, 0, 0, 0) is None


def test_a_ratio_has_an_interval_that_covers() -> None:
    rng, truth, covered = Random(5), 0.5, 0
    for _ in range(400):
        bottoms = [rng.uniform(0.5, 1.5) for _ in range(12)]
        found = ratio([truth * one + rng.gauss(0, 0.2) for one in bottoms], bottoms)
        assert found is not None
        covered += found.low <= truth <= found.high
    assert covered / 400 == pytest.approx(0.95, abs=0.03)
    assert ratio([1.0], [1.0]) is None
    assert ratio([1.0, 2.0], [0.0, 0.0]) is None
