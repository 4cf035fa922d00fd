"""E-values on paired differences, and the rule of a contest."""

import math
from random import Random

import numpy as np
import pytest

from evolution.genetics import evidence
from evolution.genetics.evidence import EFFECTS, MAX_PAIRS, Verdict, e_value, log_e_value, standings, threshold, verdict

CLEAR = [0.021, 0.018, 0.024, 0.020, 0.019, 0.022]
WORSE = [-one for one in CLEAR]


def by_brute_force(differences: list[float]) -> float:
    """The formula of the docstring, summed on a fine grid."""
    n = len(differences)
    s = sum(differences) / math.sqrt(sum(one * one for one in differences))
    v = np.linspace(0.0, 40.0, 400_001)[1:]
    below = (v ** (n - 1) * np.exp(-(v**2) / 2)).sum()
    above = [(v ** (n - 1) * np.exp(-(v**2) / 2 + d * v * s - n * d**2 / 2)).sum() for d in EFFECTS]
    return float(np.mean(above) / below)


@pytest.mark.parametrize("pairs", [2, 3, 5, 8])
@pytest.mark.parametrize("shift", [-0.02, 0.0, 0.01, 0.03])
def test_the_e_value_is_the_mixture_of_the_formula(pairs: int, shift: float) -> None:
    rng = Random(pairs)
    differences = [shift + rng.gauss(0.0, 0.01) for _ in range(pairs)]
    assert e_value(differences) == pytest.approx(by_brute_force(differences), rel=1e-4)


def test_one_pair_counts_by_its_sign_alone() -> None:
    chance = np.mean([2 * (1 + math.erf(d / math.sqrt(2))) / 2 for d in EFFECTS])
    assert e_value([0.03]) == e_value([1e-9]) == pytest.approx(chance)
    assert e_value([0.03]) + e_value([-0.03]) == pytest.approx(2.0)


def test_no_pair_says_nothing() -> None:
    assert e_value([]) == 1.0


@pytest.mark.parametrize("pairs", range(1, 9))
def test_pairs_that_do_not_differ_are_no_evidence(pairs: int) -> None:
    assert 0.0 <= e_value([0.0] * pairs) < 1.0


def test_the_scale_does_not_matter() -> None:
    small, large = ([one * scale for one in CLEAR] for scale in (1e-200, 1e200))
    assert e_value(small) == pytest.approx(e_value(CLEAR)) == pytest.approx(e_value(large))


def test_the_order_of_the_pairs_does_not_matter() -> None:
    assert e_value(CLEAR) == pytest.approx(e_value(CLEAR[::-1]))


@pytest.mark.parametrize("pairs", [1, 2, 8, 12, 40])
def test_the_extremes_are_finite(pairs: int) -> None:
    for standing in (-math.sqrt(pairs), 0.0, math.sqrt(pairs)):
        assert math.isfinite(float(log_e_value(pairs, standing)))


@pytest.mark.parametrize("pairs", [2, 5, 8])
def test_more_gain_is_more_evidence(pairs: int) -> None:
    values = log_e_value(pairs, np.linspace(-math.sqrt(pairs), math.sqrt(pairs), 101))
    assert (np.diff(values) > 0).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        e_value([0.01, bad])


@pytest.mark.parametrize("pairs", [1, 2, 4, 8])
def test_its_mean_is_one_where_there_is_nothing_to_find(pairs: int) -> None:
    """By quadrature over the null distribution of s / √n, whose density is (1 − r²)^((n−3)/2)."""
    if pairs == 1:
        assert (e_value([1.0]) + e_value([-1.0])) / 2 == pytest.approx(1.0)
        return
    angle = (np.arange(20_000) + 0.5) * math.pi / 20_000  # r = cos(angle) turns the density into sin^(n−2)
    density = np.sin(angle) ** (pairs - 2)
    values = np.exp(log_e_value(pairs, math.sqrt(pairs) * np.cos(angle)))
    assert float((values * density).sum() / density.sum()) == pytest.approx(1.0, rel=1e-6)


def test_its_mean_is_below_one_where_the_challenger_is_worse() -> None:
    differences = np.random.default_rng(1).normal(-0.5, 1.0, (20_000, 4))
    assert np.exp(log_e_value(4, standings(differences)[:, -1])).mean() < 0.5


def test_the_thresholds_of_all_contests_sum_to_one_percent() -> None:
    assert [threshold(j) for j in (1, 2, 3)] == [200, 600, 1200]
    assert sum(1 / threshold(j) for j in range(1, 100_000)) == pytest.approx(0.01, abs=1e-6)


@pytest.mark.parametrize("none", [0, -1])
def test_contests_are_counted_from_one(none: int) -> None:
    with pytest.raises(ValueError, match="from 1"):
        threshold(none)


def test_a_clear_gain_promotes() -> None:
    assert verdict(CLEAR, contest=1, max_pairs=MAX_PAIRS) == Verdict.PROMOTE


def test_later_contests_need_more_evidence() -> None:
    assert verdict(CLEAR[:4], contest=1) == Verdict.PROMOTE
    assert verdict(CLEAR[:4], contest=9) == Verdict.CONTINUE


def test_a_loss_is_given_up_after_two_pairs() -> None:
    assert verdict(WORSE[:1], contest=1) == Verdict.CONTINUE
    assert verdict(WORSE[:2], contest=1) == Verdict.FUTILE


def test_a_change_that_does_nothing_at_all_is_given_up() -> None:
    assert verdict([0.0, 0.0, 0.0], contest=1) == Verdict.FUTILE


def test_all_pairs_without_enough_evidence_decide_nothing() -> None:
    uncertain = [0.01, -0.004, 0.012, 0.003]
    assert verdict(uncertain, contest=1, max_pairs=4) == Verdict.UNDECIDED
    assert verdict(uncertain, contest=1, max_pairs=5) == Verdict.CONTINUE


def test_evidence_in_the_last_pair_still_promotes() -> None:
    assert verdict(CLEAR, contest=1, max_pairs=len(CLEAR)) == Verdict.PROMOTE


def test_before_any_pair_the_contest_goes_on() -> None:
    assert verdict([], contest=1) == Verdict.CONTINUE


def test_the_mixture_is_one() -> None:
    assert evidence.WEIGHTS.sum() == pytest.approx(1.0)
    assert (EFFECTS > 0).all()
