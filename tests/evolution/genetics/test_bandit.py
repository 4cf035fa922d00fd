"""The bandit by simulation: it finds the better arm, costs less than asking evenly, and starves nobody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import pytest

from evolution.genetics import bandit
from evolution.genetics.bandit import FLOOR, Arm, Outcome

SPREAD = 0.02  # nats: as large as the differences that are looked for
FAIL = 0.3


@dataclass(frozen=True)
class Campaign:
    asked: Mapping[str, int]
    gain: float  # nats per cost
    last: Mapping[str, float]  # chances of the last generation


def campaign(
    means: Mapping[str, float], *, seed: int, costs: Mapping[str, float] | None = None, generations: int = 6,
    evenly: bool = False,
) -> Campaign:
    """Generations of ten proposals; the chances are those at the beginning of each."""
    rng = Random(seed)
    known: dict[str, list[tuple[Outcome, int]]] = {name: [] for name in means}
    last: Mapping[str, float] = {}
    for generation in range(generations):
        arms = [Arm(name, 1.0, _aged(known[name], generation)) for name in means]
        last = dict.fromkeys(means, 1 / len(means)) if evenly else bandit.probabilities(arms, rng)
        for _ in range(10):
            name = bandit.order(last, rng)[0]
            reward = 0.0 if rng.random() < FAIL else max(0.0, rng.gauss(means[name], SPREAD))
            known[name].append((Outcome(reward, (costs or {}).get(name, 1.0)), generation))
    everything = [outcome for outcomes in known.values() for outcome, _ in outcomes]
    return Campaign(
        {name: len(outcomes) for name, outcomes in known.items()},
        sum(one.reward for one in everything) / sum(one.cost for one in everything), last,
    )


def _aged(known: Sequence[tuple[Outcome, int]], generation: int) -> list[Outcome]:
    return [Outcome(one.reward, one.cost, generation - born) for one, born in known]


def outcomes(*rewards: float, cost: float = 1.0, age: int = 0) -> list[Outcome]:
    return [Outcome(reward, cost, age) for reward in rewards]


def test_the_better_arm_is_asked_more_and_the_regret_is_below_that_of_asking_evenly() -> None:
    means = {"dull": 0.0, "good": 0.03, "plain": 0.0}
    learned = [campaign(means, seed=seed) for seed in range(12)]
    even = [campaign(means, seed=seed, evenly=True) for seed in range(12)]
    assert sum(one.asked["good"] for one in learned) > 1.7 * sum(one.asked["good"] for one in even)
    assert sum(one.gain for one in learned) > 1.25 * sum(one.gain for one in even)


def test_without_a_difference_all_are_asked_about_as_often() -> None:
    runs = [campaign(dict.fromkeys("abcd", 0.01), seed=seed, generations=4) for seed in range(24)]
    shares = [sum(one.asked[name] for one in runs) / (24 * 40) for name in "abcd"]
    assert shares == pytest.approx([0.25] * 4, abs=0.06)


def test_of_two_that_gain_the_same_the_cheaper_one_is_asked_more() -> None:
    runs = [campaign({"dear": 0.02, "cheap": 0.02}, costs={"dear": 1.5, "cheap": 0.5}, seed=seed) for seed in range(8)]
    assert sum(one.asked["cheap"] for one in runs) > 2 * sum(one.asked["dear"] for one in runs)


def test_nobody_starves() -> None:
    arms = [Arm("good", 1.0, outcomes(*[0.05] * 40)), Arm("bad", 1.0, outcomes(*[0.0] * 40))]
    chances = bandit.probabilities(arms, Random(1))
    assert chances["bad"] >= FLOOR / 2
    assert chances["good"] > 0.9


def test_shares_decide_while_nothing_is_known() -> None:
    chances = bandit.probabilities([Arm("a", 3.0), Arm("b", 1.0)], Random(1))
    assert chances == pytest.approx({"a": 0.75, "b": 0.25}, abs=0.03)


def test_shares_are_outweighed_by_what_is_known() -> None:
    arms = [Arm("favourite", 3.0, outcomes(*[0.0] * 30)), Arm("worker", 1.0, outcomes(*[0.03, 0.05] * 15))]
    assert bandit.probabilities(arms, Random(1))["worker"] > 0.85


def test_failures_count_against_an_arm() -> None:
    arms = [Arm("sound", 1.0, outcomes(*[0.02] * 8)), Arm("rash", 1.0, outcomes(0.03, 0.03, *[0.0] * 6))]
    assert bandit.probabilities(arms, Random(1))["sound"] > 0.8


def test_what_is_long_ago_counts_less() -> None:
    def chance(age: int) -> float:
        arms = [Arm("old", 1.0, outcomes(0.04, 0.05, 0.06, 0.05, age=age)), Arm("new", 1.0, outcomes(*[0.0] * 4))]
        return bandit.probabilities(arms, Random(1))["old"]

    assert chance(0) > chance(12) + 0.1


def test_a_new_arm_begins_as_the_average() -> None:
    believed = bandit.believed([Arm("known", 1.0, outcomes(0.01, 0.03, cost=2.0)), Arm("new", 1.0)])
    assert believed["new"].mean == pytest.approx(0.02)
    assert believed["new"].cost == pytest.approx(2.0)


def test_the_same_numbers_give_the_same_chances_and_they_add_to_one() -> None:
    arms = [Arm("a", 1.0, outcomes(0.01)), Arm("b", 2.0, outcomes(0.02, 0.0)), Arm("c", 0.5)]
    first, second = (bandit.probabilities(arms, Random(7)) for _ in range(2))
    assert first == second
    assert sum(first.values()) == pytest.approx(1.0)


def test_one_arm_is_always_asked_and_none_is_no_error() -> None:
    assert bandit.probabilities([Arm("only", 2.0)], Random(1)) == {"only": 1.0}
    assert bandit.probabilities([], Random(1)) == {}


def test_the_order_holds_everybody_once_and_the_likely_first() -> None:
    firsts = [bandit.order({"a": 0.8, "b": 0.15, "c": 0.05}, Random(seed)) for seed in range(200)]
    assert all(sorted(one) == ["a", "b", "c"] for one in firsts)
    assert sum(one[0] == "a" for one in firsts) == pytest.approx(160, abs=20)
