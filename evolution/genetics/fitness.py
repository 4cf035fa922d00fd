"""How fit an individual is: pure numbers, larger is better, and None means there is no number."""

import math
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class Objective(Enum):
    """What fitness is made of."""

    PERPLEXITY = "1 / perplexity"
    MFU = "MFU alone, as in DARWIN's released program"
    BOTH = "MFU / perplexity"


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


def of(objective: Objective, perplexity: float | None, mfu: float | None) -> float | None:
    """Fitness by `objective`, a positive number; None where a number that it needs is missing.

    For both it is the product: a change of one by so many per cent then counts as much as one of the other, in
    whatever units they are, and no scale has to be chosen.
    """
    by_perplexity = from_perplexity(perplexity)
    if objective == Objective.PERPLEXITY or by_perplexity is None:
        return by_perplexity
    if mfu is None or not math.isfinite(mfu) or mfu <= 0:
        return None
    return mfu if objective == Objective.MFU else mfu * by_perplexity


def pool(
    perplexities: Mapping[Hashable, float | None], efficiencies: Mapping[Hashable, float | None] | None = None,
    *, objective: Objective = Objective.PERPLEXITY,
) -> list[Individual]:
    """One individual for each key, in the order given.

    Where nobody has an MFU it can choose nobody, and perplexity decides alone: a trainer that owns its loop has none.
    """
    known = efficiencies or {}
    if not any(known.values()):
        objective = Objective.PERPLEXITY
    return [
        Individual(key, of(objective, value, known.get(key)), known.get(key)) for key, value in perplexities.items()
    ]


def rank(individuals: Iterable[Individual]) -> list[Individual]:
    """Fittest first; equals in the order they came, and those without a number last."""
    return sorted(individuals, key=lambda one: -math.inf if one.fitness is None else one.fitness, reverse=True)
