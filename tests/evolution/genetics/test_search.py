"""The parts together: on a landscape whose lines depend on each other the search is worth its evaluations."""

from statistics import fmean

import pytest

from evolution.genetics.selection import Method
from tests.evolution.genetics.landscape import Search, random_search

SEEDS = range(24)
GENERATIONS = 6


def found(method: Method, *, crossovers: int) -> float:
    runs = [Search(seed, crossovers=crossovers, method=method) for seed in SEEDS]
    return fmean(run.run(GENERATIONS) for run in runs)


@pytest.fixture(scope="module")
def at_random() -> float:
    return fmean(random_search(seed, 10 * GENERATIONS) for seed in SEEDS)


@pytest.mark.parametrize("method", [Method.TOURNAMENT, Method.ROULETTE])
def test_selection_and_crossover_beat_independent_changes_at_equal_evaluations(
    method: Method, at_random: float
) -> None:
    assert found(method, crossovers=3) > at_random + 0.02


def test_a_search_is_the_same_for_the_same_seed() -> None:
    first, second = Search(5), Search(5)
    assert first.run(4) == second.run(4)
    assert (first.code, first.parents, first.survivors) == (second.code, second.parents, second.survivors)


def test_crossovers_add_to_what_mutations_find_at_equal_evaluations() -> None:
    assert found(Method.TOURNAMENT, crossovers=3) > found(Method.TOURNAMENT, crossovers=0) + 0.005
