"""Diversity on small populations whose numbers can be seen, and the places for who is unlike the rest."""

from collections.abc import Hashable

import pytest

from evolution.genetics.diversity import (
    effective_lineages,
    effective_number,
    jaccard,
    jaccard_between,
    mean_distance,
    spread,
    with_novelty,
)
from evolution.genetics.fitness import Individual
from evolution.genetics.selection import Choice


def test_the_distance_is_the_share_of_what_only_one_has() -> None:
    assert jaccard({1, 2, 3}, {2, 3, 4}) == 0.5
    assert jaccard({1}, {1}) == jaccard((), ()) == 0.0
    assert jaccard({1}, {2}) == 1.0


def test_the_mean_distance_is_over_all_pairs() -> None:
    assert mean_distance([{1}, {1}, {2}]) == pytest.approx(2 / 3)
    assert mean_distance([{1}]) is None


def test_the_effective_number_counts_equals_and_little_of_the_rare() -> None:
    assert effective_number([1, 1, 1, 1]) == pytest.approx(4)
    assert effective_number([7, 0]) == pytest.approx(1)
    assert effective_number([]) == 0
    assert 1 < effective_number([97, 1, 1, 1]) < 1.3


def test_a_member_of_two_lineages_counts_half_for_each() -> None:
    assert effective_lineages([{1}, {2}]) == pytest.approx(2)
    assert effective_lineages([{1, 2}, {1, 2}]) == pytest.approx(2)
    assert effective_lineages([{1}, {1}, {1}]) == pytest.approx(1)


def test_the_spread_leaves_out_what_was_not_measured() -> None:
    assert spread([1.0, None, 3.0, float("nan")]) == pytest.approx(2**0.5)
    assert spread([1.0, None]) is None


CODE: dict[Hashable, set[int]] = {
    "a": {1, 2, 3}, "b": {1, 2, 4}, "c": {1, 2, 3, 4}, "far": {8, 9}, "worse": {10, 11}, "failed": {12},
}
FITNESS = {"a": 0.5, "b": 0.45, "c": 0.4, "far": 0.3, "worse": 0.1, "failed": None}


def chosen(*survivors: str) -> list[Choice]:
    return [Choice(Individual(key, fitness), key in survivors, "ranked") for key, fitness in FITNESS.items()]


def kept(choices: list[Choice]) -> set[object]:
    return {choice.individual.key for choice in choices if choice.kept}


def test_the_least_novel_gives_way_to_the_most_novel_that_is_viable() -> None:
    choices = with_novelty(chosen("a", "b", "c"), places=1, distance=jaccard_between(CODE), viable=0.2)
    assert kept(choices) == {"a", "b", "far"}
    assert choices[3].reason == "unlike the other survivors: kept for diversity"
    assert choices[2].reason == "gave its place up for diversity (ranked)"


def test_the_fittest_never_leaves_and_nothing_is_won_by_more_places_than_help() -> None:
    choices = with_novelty(chosen("a", "b", "c"), places=9, distance=jaccard_between(CODE), viable=0.2)
    assert kept(choices) == {"a", "b", "far"}


def test_nobody_comes_in_who_is_no_better_than_viable_or_was_not_measured() -> None:
    choices = with_novelty(chosen("a", "b", "c"), places=1, distance=jaccard_between(CODE), viable=0.3)
    assert kept(choices) == {"a", "b", "c"}


def test_a_single_survivor_stays() -> None:
    assert kept(with_novelty(chosen("a"), places=1, distance=jaccard_between(CODE), viable=0.0)) == {"a"}
