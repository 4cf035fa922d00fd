"""When a search goes wrong: it stagnates, or its population collapses into copies of one. Pure numbers.

The thresholds were set by the simulated runs of tests/evolution/genetics/test_alarms.py: a search that still gets on
rings neither, or hardly ever, and one that is stuck rings as soon as that can be known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evolution.genetics import lineage

PATIENCE = 3  # generations without an improvement
NOISE = 0.01  # nats, of one seed: runs of small recipes differ by 0.004 to 0.020
FEWEST = 3  # survivors: of two, one is often the other's child
ALIKE = 0.15  # a mean distance below which survivors are variations of the same code
TAKEOVER = 2  # generations, within which the offspring of one variant took every place …
TAKEN_ALIKE = 0.25  # … which is how selection works, unless they are this alike too


@dataclass(frozen=True)
class Stagnation:
    """What the best loss did over the last generations, in nats."""

    is_on: bool
    gain: float | None  # None: there were not enough generations to tell
    noise: float
    generations: int = PATIENCE


@dataclass(frozen=True)
class Collapse:
    """How alike the survivors are: by descent and by code."""

    is_on: bool
    ancestor: int | None  # the youngest that all of them descend from or are
    age: int | None  # of the ancestor, in generations
    distance: float | None  # mean, of their code, 0 … 1


def stagnation(best: Sequence[float | None], *, noise: float = NOISE) -> Stagnation:
    """Whether the best loss of all so far fell by no more than `noise` nats within the last PATIENCE generations.

    `best`: the lowest loss found up to the end of each generation, from generation 0 on; None before there was one.
    """
    if len(best) <= PATIENCE:
        return Stagnation(False, None, noise)
    now, before = best[-1], best[-1 - PATIENCE]
    if now is None or before is None:
        return Stagnation(False, None, noise)
    return Stagnation(before - now <= noise, before - now, noise)


def collapse(
    survivors: Sequence[int], *, parents: Mapping[int, Sequence[int]], born: Mapping[int, int], now: int,
    distance: float | None, reserved: int = 0,
) -> Collapse:
    """Whether the survivors are nearly the same code, or fairly so and all from one variant of the last generations.

    `born`: the generation of each variant; `now`: the last generation that ended; `distance`: between the survivors'
    changes, on average. Further `reserved` survivors, who are there for diversity alone, are left out: otherwise the
    cure would end the alarm, and the end of the alarm the cure. The root of the family, the baseline, is everybody's
    ancestor and says nothing.
    """
    shared = lineage.youngest_shared(parents, survivors)
    ancestor = shared if shared is not None and parents.get(shared) else None
    age = now - born[ancestor] if ancestor is not None else None
    limit = TAKEN_ALIKE if age is not None and age < TAKEOVER else ALIKE
    alike = distance is not None and distance < limit
    return Collapse(alike and len(survivors) + reserved >= FEWEST, ancestor, age, distance)
