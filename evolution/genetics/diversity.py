"""How diverse a population is, in code, in behaviour and in descent, and a quota for who is unlike the others."""

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from itertools import combinations
from statistics import fmean, stdev

from evolution.genetics.selection import Choice

KEPT = "unlike the other survivors: kept for diversity"

Distance = Callable[[Hashable, Hashable], float]  # between two individuals by their keys, 0 … 1


def jaccard(one: Collection[Hashable], other: Collection[Hashable]) -> float:
    """The Jaccard distance of two sets, 0 … 1: the share of what is in one of them only. Two empty sets are equal."""
    first, second = set(one), set(other)
    union = first | second
    return 1 - len(first & second) / len(union) if union else 0.0


def mean_distance(sets: Sequence[Collection[Hashable]]) -> float | None:
    """The mean Jaccard distance over all pairs; None for fewer than two."""
    pairs = list(combinations([frozenset(one) for one in sets], 2))
    return fmean(jaccard(one, other) for one, other in pairs) if pairs else None


def effective_number(weights: Iterable[float]) -> float:
    """How many kinds of equal weight would be as diverse: exp of Shannon's entropy (Hill 1973, order 1).

    From 1, where one kind has all the weight, to the number of kinds; 0 for none. `weights` need no sum of 1.
    """
    positive = [weight for weight in weights if weight > 0]
    whole = sum(positive)
    return math.exp(-sum(w / whole * math.log(w / whole) for w in positive)) if positive else 0.0


def effective_lineages(founders: Sequence[Collection[Hashable]]) -> float:
    """The effective number of lineages of a population, given the founders of each member.

    A member of several lineages, as crossovers are, counts for each of them by an equal part.
    """
    weights: dict[Hashable, float] = {}
    for line in founders:
        for founder in line:
            weights[founder] = weights.get(founder, 0.0) + 1 / len(line)
    return effective_number(weights.values())


def spread(values: Iterable[float | None]) -> float | None:
    """The standard deviation of what was measured, in its unit; None for fewer than two numbers."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return stdev(known) if len(known) > 1 else None


def jaccard_between(sets: Mapping[Hashable, Collection[Hashable]]) -> Distance:
    """The Jaccard distance between two individuals of `sets`, by their keys."""
    return lambda one, other: jaccard(sets[one], sets[other])


def with_novelty(choices: Sequence[Choice], *, places: int, distance: Distance, viable: float) -> list[Choice]:
    """`choices` where up to `places` of the survivors gave way to the individuals that are most unlike the rest.

    Novelty is the distance to the nearest survivor (Lehman & Stanley 2011). Whoever has no fitness above
    `viable` does not come in; the fittest survivor never leaves, and nobody leaves for somebody less unlike the rest.
    """
    result = list(choices)
    for _ in range(places):
        swap = _swap(result, distance, viable)
        if swap is None:
            break
        comes, goes = swap
        was = result[goes].reason
        result[comes] = Choice(result[comes].individual, True, KEPT)
        result[goes] = Choice(result[goes].individual, False, f"gave its place up for diversity ({was})")
    return result


def _swap(choices: Sequence[Choice], distance: Distance, viable: float) -> tuple[int, int] | None:
    """Who comes in, the most novel outside, and who leaves, the least novel survivor; None when nothing is won."""
    fitness = [choice.individual.fitness or 0.0 for choice in choices]
    kept = [at for at, choice in enumerate(choices) if choice.kept]
    outside = [
        at for at, choice in enumerate(choices)
        if not choice.kept and choice.individual.fitness is not None and fitness[at] > viable
    ]
    if len(kept) < 2 or not outside:
        return None

    def novelty(at: int, others: Sequence[int]) -> float:
        key = choices[at].individual.key
        return min(distance(key, choices[other].individual.key) for other in others if other != at)

    best = max(kept, key=lambda at: fitness[at])
    goes = min((at for at in kept if at != best), key=lambda at: (novelty(at, kept), fitness[at]))
    stay = [at for at in kept if at != goes]
    comes = max(outside, key=lambda at: (novelty(at, stay), fitness[at]))
    return (comes, goes) if novelty(comes, stay) > novelty(goes, kept) else None
