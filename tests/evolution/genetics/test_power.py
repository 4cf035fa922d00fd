"""What a contest can see, and what it costs."""

import numpy as np
import pytest

from evolution.genetics.evidence import Verdict, verdict
from evolution.genetics.power import chance, ends, expected_pairs, smallest_visible


@pytest.mark.parametrize("contest", [1, 4])
def test_many_contests_at_once_end_as_each_alone(contest: int) -> None:
    differences = np.random.default_rng(3).normal(1.0, 1.0, (60, 8))
    found = ends(differences, contest=contest)
    for row, promoted, pairs in zip(differences, found.promoted, found.pairs, strict=True):
        said = [verdict(list(row[:n]), contest=contest) for n in range(1, 9)]
        assert pairs == 1 + next(i for i, one in enumerate(said) if one != Verdict.CONTINUE)
        assert promoted == (said[pairs - 1] == Verdict.PROMOTE)


def test_the_smallest_visible_gain_is_seen_with_the_power_asked_for() -> None:
    gain = smallest_visible(0.0074)
    assert gain is not None
    fresh = np.random.default_rng(4).normal(gain, 0.0074, (4_000, 8))
    assert ends(fresh).promoted.mean() == pytest.approx(0.8, abs=0.03)


def test_more_pairs_see_smaller_gains() -> None:
    few, many = smallest_visible(1.0, max_pairs=6), smallest_visible(1.0, max_pairs=16)
    assert few is not None
    assert many is not None
    assert many < few / 1.5


def test_later_contests_see_only_larger_gains() -> None:
    first, tenth = smallest_visible(1.0), smallest_visible(1.0, contest=10)
    assert first is not None
    assert tenth is not None
    assert first < tenth


def test_less_noise_shows_smaller_gains() -> None:
    assert smallest_visible(0.0) == 0.0
    assert smallest_visible(0.02) == pytest.approx(2 * (smallest_visible(0.01) or 0.0))


@pytest.mark.parametrize("pairs", [1, 2, 3])
def test_three_pairs_prove_nothing_whatever_the_gain(pairs: int) -> None:
    assert smallest_visible(0.01, max_pairs=pairs) is None


def test_a_deviation_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="deviation"):
        smallest_visible(-0.1)


def test_what_does_nothing_is_given_up_early_and_what_is_clear_is_promoted_early() -> None:
    assert expected_pairs(0.0) < 3.5
    assert expected_pairs(10.0) < 5.5
    assert chance(0.0) < 0.005
    assert chance(10.0) > 0.99
