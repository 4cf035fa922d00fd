"""How fit an individual is: pure numbers, larger is better, and None means there is no number."""

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Individual:
    """A member of the pool. `fitness` is None where nothing was measured: it never wins against a number.

    `efficiency`, its MFU, is the second objective where selection has two.
    """

    key: Hashable
    fitness: float | None
    efficiency: float | None = None


def from_perplexity(perplexity: float | None) -> float | None:
    """Fitness 1 / perplexity, as a positive number that grows as perplexity falls; None for what is no perplexity.

    Perplexity is exp(mean nats per token), so at least 1 for any model that is no oracle, and finite.
    """
    if perplexity is None or not math.isfinite(perplexity) or perplexity <= 0:
        return None
    return 1.0 / perplexity


def pool(
    perplexities: Mapping[Hashable, float | None], efficiencies: Mapping[Hashable, float | None] | None = None
) -> list[Individual]:
    """One individual for each key, in the order given."""
    known = efficiencies or {}
    return [Individual(key, from_perplexity(value), known.get(key)) for key, value in perplexities.items()]


def rank(individuals: Iterable[Individual]) -> list[Individual]:
    """Fittest first; equals in the order they came, and those without a number last."""
    return sorted(individuals, key=lambda one: -math.inf if one.fitness is None else one.fitness, reverse=True)
