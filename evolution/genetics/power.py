"""What a contest can see and what it costs, by simulation with a fixed seed; differences are taken as normal."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evolution.genetics.evidence import (
    FUTILE,
    MAX_PAIRS,
    MIN_PAIRS_TO_GIVE_UP,
    Numbers,
    log_e_value,
    standings,
    threshold,
)

DRAWS = 4_000  # simulated contests: a share of 80 % is known to ±1.3 %
LARGEST_EFFECT = 64.0  # in standard deviations of a pair: what is not seen then is never seen
_GRID = 1_001


class Ends(NamedTuple):
    """How simulated contests ended; one entry for each."""

    promoted: NDArray[np.bool_]
    pairs: NDArray[np.int64]  # that were run


def ends(differences: ArrayLike, *, contest: ArrayLike = 1) -> Ends:
    """The rule of `evidence.verdict`, asked after every pair of many contests at once.

    `differences`: (contests, max_pairs), nats, positive is better; `contest`: the number of each, or of all.
    """
    d = np.asarray(differences, dtype=np.float64)
    numbers = np.broadcast_to(np.asarray(contest), d.shape[:1])
    bars = np.log([threshold(int(j)) for j in numbers])
    logs = _log_e_values(standings(d))
    wins = logs >= bars[:, None]
    over = wins | (logs < np.log(FUTILE))
    over[:, : MIN_PAIRS_TO_GIVE_UP - 1] = wins[:, : MIN_PAIRS_TO_GIVE_UP - 1]
    over[:, -1] = True
    last = over.argmax(axis=1)
    return Ends(wins[np.arange(len(d)), last], last + 1)


def chance(effect: float, *, max_pairs: int = MAX_PAIRS, contest: int = 1) -> float:
    """How often a mean gain of `effect` standard deviations of a pair is promoted, 0 … 1."""
    return float(ends(_noise(max_pairs) + effect, contest=contest).promoted.mean())


def expected_pairs(effect: float, *, max_pairs: int = MAX_PAIRS, contest: int = 1) -> float:
    """The mean number of pairs that a contest about a gain of `effect` standard deviations of a pair takes."""
    return float(ends(_noise(max_pairs) + effect, contest=contest).pairs.mean())


def smallest_visible(
    sd_pair: float, *, max_pairs: int = MAX_PAIRS, contest: int = 1, power: float = 0.8
) -> float | None:
    """The mean gain in nats that is promoted with probability `power`, of pairs with a deviation of `sd_pair` nats.

    None where so few pairs cannot promote whatever the gain. ValueError for a deviation below 0.
    """
    if not sd_pair >= 0:
        raise ValueError("a standard deviation is 0 or more")
    effect = _smallest_effect(max_pairs, contest, power)
    return None if effect is None else effect * sd_pair


@cache
def _smallest_effect(max_pairs: int, contest: int, power: float) -> float | None:
    low, high = 0.0, LARGEST_EFFECT
    if chance(high, max_pairs=max_pairs, contest=contest) < power:
        return None
    while high - low > 0.005:
        middle = (low + high) / 2
        seen = chance(middle, max_pairs=max_pairs, contest=contest) >= power
        low, high = (low, middle) if seen else (middle, high)
    return high


@cache
def _noise(max_pairs: int) -> Numbers:
    return np.random.default_rng(20_240_801).standard_normal((DRAWS, max_pairs))


def _log_e_values(s: Numbers) -> Numbers:
    """log e-values after each pair, from a table: s is (contests, pairs)."""
    columns = [np.interp(s[:, n - 1], *_table(n)) for n in range(1, s.shape[1] + 1)]
    return np.stack(columns, axis=1)


@cache
def _table(pairs: int) -> tuple[Numbers, Numbers]:
    grid = np.linspace(-np.sqrt(pairs), np.sqrt(pairs), _GRID)
    return grid, log_e_value(pairs, grid)
