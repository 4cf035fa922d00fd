"""Who survives and who breeds: pure functions of a pool and a generator of random numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from evolution.genetics import pareto
from evolution.genetics.fitness import Individual, Objective, rank

TOURNAMENT_SIZE = 3  # enough pressure for the small pools of an expensive fitness
WIDE_TOURNAMENT_SIZE = 2  # while the search stagnates: the least that is still a tournament


class Method(StrEnum):
    """How survivors and parents are chosen."""

    TOURNAMENT = "tournament"
    ROULETTE = "roulette"  # the paper's wheel with refill, on 1 / perplexity
    ROULETTE_MFU = "roulette_mfu"  # the same on MFU
    ROULETTE_ALL = "roulette_all"  # the same on both
    PARETO = "pareto"

    @property
    def is_wheel(self) -> bool:
        return self in (Method.ROULETTE, Method.ROULETTE_MFU, Method.ROULETTE_ALL)

    @property
    def objective(self) -> Objective:
        """What fitness is made of."""
        others = {Method.ROULETTE_MFU: Objective.MFU, Method.ROULETTE_ALL: Objective.BOTH}
        return others.get(self, Objective.PERPLEXITY)


@dataclass(frozen=True)
class Choice:
    """What selection decided about one individual, and why."""

    individual: Individual
    kept: bool
    reason: str


def tournament(pool: Sequence[Individual], *, size: int = TOURNAMENT_SIZE, rng: Random) -> Individual:
    """The fittest of `size` individuals drawn at random (Miller & Goldberg 1995).

    All of the pool takes part when it has fewer. ValueError for an empty pool.
    """
    if not pool:
        raise ValueError("nobody to choose from")
    return rank(rng.sample(list(pool), min(size, len(pool))))[0]


def roulette(pool: Sequence[Individual], *, rng: Random) -> Individual:
    """One individual with a probability proportional to its fitness.

    Holland 1975, and what DARWIN uses (arXiv 2602.05848). Individuals without a number have no share, unless nobody
    has one. ValueError for an empty pool.
    """
    if not pool:
        raise ValueError("nobody to choose from")
    weights = [one.fitness or 0.0 for one in pool]
    if not any(weights):
        return rng.choice(list(pool))
    return rng.choices(list(pool), weights=weights)[0]


def choose(
    pool: Sequence[Individual], *, method: Method, rng: Random, size: int = TOURNAMENT_SIZE
) -> Individual:
    """One individual by `method`; `size` is that of a tournament."""
    if method.is_wheel:
        return roulette(pool, rng=rng)
    draw = crowded_tournament if method == Method.PARETO else tournament
    return draw(pool, size=size, rng=rng)


def dealt(pool: Sequence[Individual], *, place: int, seed: str) -> list[Individual]:
    """DARWIN's refill (arXiv 2602.05848): whose offspring takes place number `place`, and who is next if it cannot.

    The wheel has turned when the survivors were chosen; from then on each has as many offspring as the others, in an
    order that is drawn anew, from `seed`, each time everybody had a turn.
    """
    turn, at = divmod(place, max(1, len(pool)))
    order = list(pool)
    Random(f"{seed}/{turn}").shuffle(order)  # noqa: S311 chance, not secrecy
    return [*order[at:], *order[:at]]


def crowded_tournament(pool: Sequence[Individual], *, size: int = TOURNAMENT_SIZE, rng: Random) -> Individual:
    """The first, by front and then by loneliness, of `size` individuals drawn at random (NSGA-II, Deb et al. 2002).

    ValueError for an empty pool.
    """
    if not pool:
        raise ValueError("nobody to choose from")
    drawn = rng.sample(range(len(pool)), min(size, len(pool)))
    return pool[min(drawn, key=pareto.ranked(_points(pool)).index)]


def _points(pool: Sequence[Individual]) -> list[pareto.Point]:
    """(fitness, efficiency) of each; what has no efficiency counts as the least efficient."""
    return [None if one.fitness is None else (one.fitness, one.efficiency or 0.0) for one in pool]


def survivors(
    pool: Sequence[Individual], *, keep: int, method: Method, rng: Random, elites: int = 1
) -> list[Choice]:
    """A choice for every individual of `pool`, in its order; `keep` of those with a number survive.

    The fittest `elites` always do (elitism, De Jong 1975); the other places are drawn by `method` without replacement,
    or with Method.PARETO taken front by front, the lonelier first.
    """
    if method == Method.PARETO:
        return _fronts(pool, keep=keep, elites=elites)
    ranked = [one for one in rank(pool) if one.fitness is not None]
    reasons = {one: _elite(elites) for one in ranked[:min(elites, keep)]}
    while len(reasons) < min(keep, len(ranked)):
        left = [one for one in ranked if one not in reasons]
        chosen = choose(left, method=method, rng=rng)
        reasons[chosen] = _how(chosen, left, ranked, method)
    return [
        Choice(one, True, reasons[one]) if one in reasons else Choice(one, False, _why_not(one, ranked, keep, method))
        for one in pool
    ]


def replacement(pool: Sequence[Individual], *, keep: int, method: Method) -> list[Choice]:
    """A choice for every individual of `pool`, in its order: the best `keep` of old and new stay.

    (μ + λ) replacement (Schwefel 1981), for a steady state: it is asked again after every single measurement, so that
    chance would have driven out a good one sooner or later. With Method.PARETO front by front.
    """
    if method == Method.PARETO:
        return _fronts(pool, keep=keep, elites=1)
    ranked = [one for one in rank(pool) if one.fitness is not None]
    return [_placed(one, ranked, keep) for one in pool]


def _fronts(pool: Sequence[Individual], *, keep: int, elites: int) -> list[Choice]:
    points = _points(pool)
    fronts = [front for front in pareto.fronts(points) if points[front[0]] is not None]
    front_of = {at: number for number, front in enumerate(fronts, 1) for at in front}
    best = [pool.index(one) for one in rank(pool)[:elites]]
    order = [*best, *(at for at in pareto.ranked(points) if at not in best)]
    kept = [at for at in order if at in front_of][:keep]
    return [Choice(one, at in kept, _front(front_of.get(at), len(fronts), at in kept)) for at, one in enumerate(pool)]


def _front(number: int | None, count: int, kept: bool) -> str:
    if number is None:
        return "has no measured number"
    said = f"front {number} of {count}"
    if kept:
        return f"{said}: nobody has both a lower perplexity and a higher MFU" if number == 1 else said
    return f"{said}: no place left"


def _elite(elites: int) -> str:
    return "the best measured: always kept" if elites == 1 else f"one of the best {elites} measured: always kept"


def _placed(one: Individual, ranked: Sequence[Individual], keep: int) -> Choice:
    if one.fitness is None:
        return Choice(one, False, "has no measured number")
    place = ranked.index(one) + 1
    return Choice(one, place <= keep, f"rank {place} of {len(ranked)}: the best {keep} stay")


def _how(chosen: Individual, left: Sequence[Individual], ranked: Sequence[Individual], method: Method) -> str:
    place = f"rank {ranked.index(chosen) + 1} of {len(ranked)}"
    if not method.is_wheel:
        return f"{place}: won a tournament of {min(TOURNAMENT_SIZE, len(left))}"
    share = (chosen.fitness or 0.0) / sum(one.fitness or 0.0 for one in left)
    return f"{place}: drawn with a probability of {share:.0%}, in proportion to its fitness"


def _why_not(one: Individual, ranked: Sequence[Individual], keep: int, method: Method) -> str:
    if one.fitness is None:
        return "has no measured number"
    lost = "not drawn" if method.is_wheel else "won no tournament"
    return f"rank {ranked.index(one) + 1} of {len(ranked)}: {lost} for one of {keep} places"
