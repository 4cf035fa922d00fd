"""Who survives, who breeds: pure functions with a seeded generator."""

import math
from collections import Counter
from collections.abc import Callable, Hashable
from random import Random

import pytest

from evolution.genetics.fitness import Individual, Objective, from_perplexity, of, pool, rank
from evolution.genetics.selection import Method, choose, dealt, replacement, roulette, survivors, tournament

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


@pytest.mark.parametrize(("objective", "perplexity", "mfu", "expected"), [
    (Objective.PERPLEXITY, 8.0, None, 0.125), (Objective.MFU, 8.0, 0.4, 0.4), (Objective.BOTH, 8.0, 0.4, 0.05),
    (Objective.MFU, 8.0, None, None), (Objective.BOTH, 8.0, math.nan, None), (Objective.MFU, None, 0.4, None),
    (Objective.BOTH, math.inf, 0.4, None),
])
def test_fitness_is_what_the_objective_says(
    objective: Objective, perplexity: float | None, mfu: float | None, expected: float | None
) -> None:
    assert of(objective, perplexity, mfu) == (None if expected is None else pytest.approx(expected))


def test_on_mfu_the_fastest_is_the_fittest_and_on_both_ten_per_cent_are_ten_per_cent() -> None:
    perplexities: dict[Hashable, float | None] = {1: 8.0, 2: 8.8, 3: 10.0}
    efficiencies: dict[Hashable, float | None] = {1: 0.30, 2: 0.34, 3: 0.36}
    by = {one: rank(pool(perplexities, efficiencies, objective=one)) for one in Objective}
    assert [by[one][0].key for one in (Objective.PERPLEXITY, Objective.BOTH, Objective.MFU)] == [1, 2, 3]


def test_where_nobody_has_an_mfu_perplexity_decides() -> None:
    assert rank(pool({1: 9.0, 2: 8.0}, {1: None, 2: None}, objective=Objective.MFU))[0].key == 2


def test_every_method_has_the_objective_of_its_name() -> None:
    assert {method.value: method.objective for method in Method} == {
        "tournament": Objective.PERPLEXITY, "roulette": Objective.PERPLEXITY, "roulette_mfu": Objective.MFU,
        "roulette_all": Objective.BOTH, "pareto": Objective.PERPLEXITY,
    }


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("elites", [0, 1, 2, 3, 9])
def test_as_many_of_the_best_as_are_elites_always_survive(method: Method, elites: int) -> None:
    for seed in range(60):
        chosen = kept(list(survivors(POOL, keep=3, method=method, rng=Random(seed), elites=elites)))
        assert len(chosen) == 3
        assert {1, 5, 3} - chosen <= set([1, 5, 3][elites:])


def test_without_elites_the_wheel_may_lose_the_best() -> None:
    assert any(
        1 not in kept(list(survivors(POOL, keep=2, method=Method.ROULETTE, rng=Random(seed), elites=0)))
        for seed in range(60)
    )


def test_refill_gives_every_survivor_its_turn_and_another_order_each_time() -> None:
    some = pool({1: 8.0, 2: 9.0, 3: 10.0, 4: 11.0})
    first = [dealt(some, place=place, seed="7")[0].key for place in range(40)]
    for turn in range(10):
        assert sorted(first[4 * turn:4 * turn + 4], key=str) == [1, 2, 3, 4]
    assert len({tuple(first[4 * turn:4 * turn + 4]) for turn in range(10)}) > 3
    assert sorted((one.key for one in dealt(some, place=3, seed="7")), key=str) == [1, 2, 3, 4]
    assert dealt([], place=3, seed="7") == []


@pytest.mark.parametrize("method", [Method.TOURNAMENT, Method.ROULETTE])
def test_replacement_keeps_the_best_of_old_and_new(method: Method) -> None:
    choices = replacement(POOL, keep=2, method=method)
    assert kept(list(choices)) == {1, 5}
    assert choices[2].reason == "rank 3 of 4: the best 2 stay"
    assert choices[3].reason == "has no measured number"


def test_replacement_with_two_objectives_keeps_the_first_front() -> None:
    assert kept(list(replacement(FRONT, keep=3, method=Method.PARETO))) == {"low perplexity", "high MFU", "between"}
