"""Which way of proposing is asked next: Thompson sampling on gain per cost, pure.

Each arm's mean reward has a normal-gamma posterior (Murphy 2007, Conjugate Bayesian analysis of the Gaussian
distribution, equations 86 to 89). A draw of it over the arm's mean cost is what the arm promises (Xia, Li, Qin, Yu &
Liu, Thompson sampling for budgeted multi-armed bandits, IJCAI 2015); an arm is asked as often as it promises most
(Thompson 1933). Old outcomes fade, since the code that they changed is gone (Raj & Kalyani 2017, Taming non-stationary
bandits: a Bayesian approach).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

DECAY = 0.8  # of an outcome's weight, for each generation that has passed since
FLOOR = 0.1  # of all calls, given by share whatever the record says: none starves
PRIOR = 2.0  # outcomes that the prior counts for: what all arms together did
DRAWS = 1_000


@dataclass(frozen=True)
class Outcome:
    """What one proposal brought and what it cost."""

    reward: float  # nats, ≥ 0: what is worse than its parent is not kept, and brought nothing
    cost: float  # 1 is the average proposal
    age: int = 0  # generations ago


@dataclass(frozen=True)
class Arm:
    """One way of proposing. `share` is its part of the calls before anything is known, > 0."""

    name: str
    share: float
    outcomes: Sequence[Outcome] = ()


@dataclass(frozen=True)
class Belief:
    """The posterior of an arm's mean reward, normal-gamma with these parameters, and its mean cost."""

    mean: float
    kappa: float
    alpha: float
    beta: float
    cost: float

    def draw(self, rng: Random) -> float:
        """A reward per cost that the arm may have."""
        precision = rng.gammavariate(self.alpha, 1 / self.beta)
        return rng.gauss(self.mean, 1 / math.sqrt(self.kappa * precision)) / self.cost


def probabilities(arms: Sequence[Arm], rng: Random) -> dict[str, float]:
    """How likely each arm is asked, by name; they add to 1.

    The probability to promise most, weighed with the shares, and a floor by share alone.
    """
    beliefs = believed(arms)
    best = dict.fromkeys((arm.name for arm in arms), 0)
    for _ in range(DRAWS if len(arms) > 1 else 0):
        drawn = {name: belief.draw(rng) for name, belief in beliefs.items()}
        best[max(drawn, key=drawn.__getitem__)] += 1
    shares = _normal({arm.name: arm.share for arm in arms})
    promised = _normal({name: shares[name] * (count + 1) for name, count in best.items()})
    return {name: (1 - FLOOR) * promised[name] + FLOOR * shares[name] for name in shares}


def order(chances: Mapping[str, float], rng: Random) -> list[str]:
    """All names in the order in which they are asked: drawn by their chances, without putting back."""
    left, drawn = dict(chances), []
    while left:
        (name,) = rng.choices(list(left), weights=list(left.values()))
        drawn.append(name)
        del left[name]
    return drawn


def believed(arms: Sequence[Arm]) -> dict[str, Belief]:
    """The posterior of each arm, by name. The prior is what all arms did: a new one begins as the average."""
    weighed = [_weighed(arm.outcomes) for arm in arms]
    middle, spread, cost = _pooled([one for arm in weighed for one in arm])
    return {
        arm.name: _posterior(outcomes, middle=middle, spread=spread, cost=cost)
        for arm, outcomes in zip(arms, weighed, strict=True)
    }


Weighed = tuple[float, float, float]  # weight, reward, cost


def _weighed(outcomes: Sequence[Outcome]) -> list[Weighed]:
    return [(DECAY**one.age, one.reward, one.cost) for one in outcomes]


def _pooled(outcomes: Sequence[Weighed]) -> tuple[float, float, float]:
    """Mean and variance of the rewards, and the mean cost. Before any is known only their order counts: 0, 1, 1."""
    total = math.fsum(weight for weight, _, _ in outcomes)
    if not total:
        return 0.0, 1.0, 1.0
    middle = math.fsum(weight * reward for weight, reward, _ in outcomes) / total
    spread = math.fsum(weight * (reward - middle) ** 2 for weight, reward, _ in outcomes) / total
    return middle, spread or 1.0, math.fsum(weight * cost for weight, _, cost in outcomes) / total


def _posterior(outcomes: Sequence[Weighed], *, middle: float, spread: float, cost: float) -> Belief:
    count = math.fsum(weight for weight, _, _ in outcomes)
    rewards = math.fsum(weight * reward for weight, reward, _ in outcomes)
    costs = math.fsum(weight * one for weight, _, one in outcomes)
    mean = rewards / count if count else middle
    scatter = math.fsum(weight * (reward - mean) ** 2 for weight, reward, _ in outcomes)
    kappa, alpha = PRIOR + count, (PRIOR + count) / 2
    beta = PRIOR / 2 * spread + scatter / 2 + PRIOR * count * (mean - middle) ** 2 / (2 * kappa)
    return Belief((PRIOR * middle + rewards) / kappa, kappa, alpha, beta, (PRIOR * cost + costs) / kappa)


def _normal(weights: Mapping[str, float]) -> dict[str, float]:
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
