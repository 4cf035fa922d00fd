"""All built-in operators, by name."""

from evolution.agents.operators import (
    activation,
    batches,
    embeddings,
    head,
    initialisation,
    kernels,
    loop,
    normalisation,
    numbers,
    optimiser,
    positions,
    residual,
    schedule,
    settings,
)
from evolution.agents.operators.operator import Operator

FAMILIES = (
    normalisation, activation, positions, embeddings, head, initialisation, residual, optimiser, kernels, schedule,
    batches, loop, settings,
)
FAMILY = {one.name: family.__name__.rpartition(".")[2] for family in FAMILIES for one in family.OPERATORS}
CATALOGUE: dict[str, Operator] = {one.name: one for family in FAMILIES for one in family.OPERATORS}


def named(name: str) -> Operator:
    """The operator of this name, from the catalogue or NAME_xFACTOR; KeyError when there is none."""
    found = CATALOGUE.get(name) or numbers.numeric(name)
    if found is None:
        raise KeyError(name)
    return found
