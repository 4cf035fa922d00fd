"""Who survives, who breeds: pure functions with a seeded generator."""

import math
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from evolution.genetics.fitness import Individual, from_perplexity, pool, rank
from evolution.genetics.selection import Method, choose, roulette, survivors, tournament

POOL = pool({1: 8.0, 2: 12.0, 3: 10.0, 4: None, 5: 9.0, 6: float("nan")})


def kept(choices: list[object]) -> set[object]:
    return {choice.individual.key for choice in choices if choice.kept}  # type: ignore[attr-defined]


def test_lower_perplexity_is_fitter() -> None:
    assert [one.key for one in rank(POOL)][:4] == [1, 5, 3, 2]


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf, -math.inf, 0.0, -1.0])
def test_what_is_no_perplexity_has_no_fitness(nothing: float | None) -> None:
    assert from_perplexity(nothing) is None


def test_a_tournament_of_all_is_won_by_the_best() -> None:
    assert tournament(POOL, size=99, rng=Random(1)).key == 1


def test_a_missing_number_wins_no_tournament_against_a_number() -> None:
    pair = [Individual("measured", 0.0001), Individual("missing", None)]
    assert {tournament(pair, rng=Random(seed)).key for seed in range(50)} == {"measured"}


def test_the_wheel_turns_in_proportion_to_fitness() -> None:
    rng = Random(7)
    counts = Counter(roulette([Individual("a", 3.0), Individual("b", 1.0)], rng=rng).key for _ in range(4000))
    assert 0.72 < counts["a"] / 4000 < 0.78


def test_a_missing_number_has_no_share_of_the_wheel() -> None:
    assert {roulette(POOL, rng=Random(seed)).key for seed in range(300)} == {1, 2, 3, 5}


def test_without_any_number_everybody_has_the_same_chance() -> None:
    unknown = pool({1: None, 2: None})
    assert {roulette(unknown, rng=Random(seed)).key for seed in range(50)} == {1, 2}
    assert {tournament(unknown, rng=Random(seed)).key for seed in range(50)} == {1, 2}


@pytest.mark.parametrize("draw", [tournament, roulette])
def test_nobody_cannot_be_chosen_from(draw: Callable[..., Individual]) -> None:
    with pytest.raises(ValueError, match="nobody"):
        draw([], rng=Random(1))


@pytest.mark.parametrize("method", list(Method))
def test_the_best_always_survives(method: Method) -> None:
    for seed in range(200):
        assert 1 in kept(list(survivors(POOL, keep=2, method=method, rng=Random(seed))))


@pytest.mark.parametrize("method", list(Method))
def test_as_many_survive_as_there_are_places(method: Method) -> None:
    for keep in range(7):
        choices = survivors(POOL, keep=keep, method=method, rng=Random(3))
        assert len(kept(list(choices))) == min(keep, 4)


@pytest.mark.parametrize("method", list(Method))
def test_what_was_not_measured_never_survives(method: Method) -> None:
    for seed in range(100):
        assert not kept(list(survivors(POOL, keep=6, method=method, rng=Random(seed)))) & {4, 6}


@pytest.mark.parametrize("method", list(Method))
def test_the_same_seed_chooses_the_same(method: Method) -> None:
    first, second = (survivors(POOL, keep=2, method=method, rng=Random(11)) for _ in range(2))
    assert first == second
    assert choose(POOL, method=method, rng=Random(5)) == choose(POOL, method=method, rng=Random(5))


def test_every_choice_says_why() -> None:
    reasons = {
        choice.individual.key: choice.reason
        for choice in survivors(POOL, keep=2, method=Method.TOURNAMENT, rng=Random(0))
    }
    assert reasons[1] == "the best measured: always kept"
    assert reasons[4] == "has no measured number"
    assert all(reasons.values())
    assert any("won a tournament of 3" in reason for reason in reasons.values())


FRONT = [
    Individual("low perplexity", 0.5, 0.2), Individual("high MFU", 0.2, 0.5), Individual("between", 0.35, 0.35),
    Individual("behind", 0.3, 0.3), Individual("not measured", None, 0.9),
]


def test_with_two_objectives_the_first_front_survives() -> None:
    choices = survivors(FRONT, keep=3, method=Method.PARETO, rng=Random(1))
    assert kept(list(choices)) == {"low perplexity", "high MFU", "between"}
    assert choices[2].reason == "front 1 of 2: nobody has both a lower perplexity and a higher MFU"
    assert choices[3].reason == "front 2 of 2: no place left"


def test_with_one_place_the_lowest_perplexity_takes_it() -> None:
    assert kept(list(survivors(FRONT, keep=1, method=Method.PARETO, rng=Random(1)))) == {"low perplexity"}


def test_whoever_is_behind_breeds_less_than_the_first_front() -> None:
    chosen = Counter(choose(FRONT, method=Method.PARETO, rng=Random(seed)).key for seed in range(300))
    assert chosen["not measured"] == 0
    assert chosen["behind"] < min(chosen["low perplexity"], chosen["high MFU"])
