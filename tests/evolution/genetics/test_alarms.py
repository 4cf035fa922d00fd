"""Alarms ring for a search that is stuck or has become copies of one, and hardly ever for one that gets on."""

import pytest

from evolution.genetics.alarms import ALIKE, TAKEN_ALIKE, collapse, stagnation
from tests.evolution.genetics.landscape import Bits, Search

GENERATIONS = 8


def test_no_gain_beyond_the_noise_for_three_generations_is_stagnation() -> None:
    found = stagnation([2.0, 1.8, 1.797, 1.797, 1.795], noise=0.01)
    assert found.is_on
    assert found.gain == pytest.approx(0.005)


def test_a_gain_beyond_the_noise_within_three_generations_is_none() -> None:
    assert not stagnation([2.0, 1.8, 1.8, 1.8, 1.78], noise=0.01).is_on
    assert not stagnation([2.0, 1.8, 1.78, 1.78, 1.78], noise=0.01).is_on


def test_before_three_generations_nothing_can_be_said() -> None:
    for early in ([], [2.0], [2.0, 2.0, 2.0], [None, None, None, None], [None, 2.0, 2.0, 2.0]):
        assert not stagnation(early).is_on
        assert stagnation(early).gain is None


#         0
#      1     2          3 and 4 come from 1, 5 from 2
#     3 4    5
PARENTS = {0: [], 1: [0], 2: [0], 3: [1], 4: [1], 5: [2]}
BORN = {0: 0, 1: 1, 2: 1, 3: 2, 4: 2, 5: 2}


@pytest.mark.parametrize(("survivors", "now", "distance", "expected"), [
    ([1, 3, 4], 2, TAKEN_ALIKE - 0.01, True),  # all from one of the last generation, and alike
    ([1, 3, 4], 2, TAKEN_ALIKE + 0.01, False),  # a good one's children, each with something new
    ([1, 3, 4], 5, TAKEN_ALIKE - 0.01, False),  # the ancestor is old
    ([1, 3, 4], 5, ALIKE - 0.01, True),
    ([3, 4, 5], 2, ALIKE - 0.01, True),  # two lineages of the same code
    ([3, 4, 5], 2, TAKEN_ALIKE - 0.01, False),
    ([1, 3], 2, 0.0, False),  # too few to tell
    ([1, 3, 4], 2, None, False),
])
def test_survivors_that_are_alike_are_a_collapse(
    survivors: list[int], now: int, distance: float | None, expected: bool
) -> None:
    assert collapse(survivors, parents=PARENTS, born=BORN, now=now, distance=distance).is_on is expected


def test_who_is_there_for_diversity_alone_does_not_end_the_alarm() -> None:
    for reserved, expected in ((1, True), (0, False)):
        found = collapse([1, 3], parents=PARENTS, born=BORN, now=5, distance=0.1, reserved=reserved)
        assert found.is_on is expected


def test_the_baseline_is_no_common_ancestor() -> None:
    assert collapse([3, 4, 5], parents=PARENTS, born=BORN, now=2, distance=0.9).ancestor is None
    found = collapse([1, 3, 4], parents=PARENTS, born=BORN, now=2, distance=0.9)
    assert (found.ancestor, found.age) == (1, 1)


@pytest.fixture(scope="module")
def healthy() -> list[Search]:
    searches = [Search(seed) for seed in range(24)]
    for search in searches:
        search.run(GENERATIONS)
    return searches


def test_a_search_that_gets_on_hardly_ever_rings(healthy: list[Search]) -> None:
    ends = [one for search in healthy for one in search.collapses]
    assert sum(one.is_on for one in ends) < 0.1 * len(ends)
    stuck = [stagnation(search.best[:end]).is_on for search in healthy for end in range(1, len(search.best) + 1)]
    assert sum(stuck) < 0.1 * len(stuck)


def ones(code: Bits) -> float:
    """A hill that is climbed line by line, and all of whose climbers look the same in the end."""
    return sum(code) / len(code)


def test_a_population_of_climbers_of_one_hill_is_found_to_have_collapsed_and_then_to_be_stuck() -> None:
    for seed in range(6):
        search = Search(seed, wanted=ones, crossovers=0, places=30)
        search.run(30)
        assert any(one.is_on for one in search.collapses)
        assert stagnation(search.best).is_on
