"""Fronts and crowding on small pools whose answers can be seen."""

import math
from functools import cache
from random import Random

import pytest

from evolution.genetics.pareto import crowding, dominates, fronts, ranked


@pytest.mark.parametrize(("one", "other", "expected"), [
    ((2, 2), (1, 1), True), ((2, 1), (1, 1), True), ((1, 1), (1, 1), False), ((2, 0), (1, 1), False),
])
def test_better_somewhere_and_nowhere_worse_dominates(
    one: tuple[float, ...], other: tuple[float, ...], expected: bool
) -> None:
    assert dominates(one, other) is expected


def test_fronts_are_peeled_off_and_those_without_numbers_come_last() -> None:
    points = [(1, 4), (2, 3), None, (1, 3), (4, 1), (0, 0)]
    assert fronts(points) == [[0, 1, 4], [3], [5], [2]]


def test_nobody_is_dominated_within_a_front_or_from_behind() -> None:
    rng = Random(4)
    points = [(rng.random(), rng.random()) for _ in range(60)]
    found = fronts(points)
    assert sorted(at for front in found for at in front) == list(range(60))
    for number, front in enumerate(found):
        behind = [at for later in found[number:] for at in later]
        assert not any(dominates(points[other], points[at]) for at in front for other in behind)
        if number:
            assert all(any(dominates(points[other], points[at]) for other in found[number - 1]) for at in front)


def test_ends_are_infinitely_lonely_and_the_middle_counts_the_gap_of_its_neighbours() -> None:
    assert crowding([(0, 10), (1, 9), (10, 0)]) == [math.inf, pytest.approx(2.0), math.inf]
    assert crowding([(1, 1), (1, 1)]) == [math.inf, math.inf]
    assert crowding([]) == []


def test_the_lonelier_of_a_front_come_first() -> None:
    points = [(0.0, 10.0), (5.0, 5.0), (5.1, 4.9), (10.0, 0.0), (2.0, 2.0)]
    assert ranked(points)[:2] == [0, 3]
    assert ranked(points)[-1] == 4


def test_the_ends_of_equals_come_first_and_the_unmeasured_last() -> None:
    assert ranked([(1, 1), (1, 1), None, (1, 1)]) == [0, 3, 1, 2]


def gap(values: list[float], at: int) -> float:
    """Between the next smaller and the next larger value, in units of the range; infinite at an end."""
    smaller, larger = [v for v in values if v < values[at]], [v for v in values if v > values[at]]
    if not smaller or not larger:
        return math.inf
    return (min(larger) - max(smaller)) / (max(values) - min(values))


def test_crowding_is_the_sum_of_the_gaps_to_both_neighbours() -> None:
    rng = Random(8)
    for _ in range(20):
        points = [(rng.random(), rng.random(), rng.random()) for _ in range(12)]
        expected = [sum(gap([point[i] for point in points], at) for i in range(3)) for at in range(12)]
        assert crowding(points) == pytest.approx(expected)


def test_a_front_number_is_the_longest_chain_of_those_that_dominate() -> None:
    rng = Random(9)
    points = [(rng.randrange(8), rng.randrange(8)) for _ in range(40)]  # with ties

    @cache
    def depth(at: int) -> int:
        return 1 + max((depth(other) for other in range(40) if dominates(points[other], points[at])), default=-1)

    for number, front in enumerate(fronts(points)):
        assert [depth(at) for at in front] == [number] * len(front)
