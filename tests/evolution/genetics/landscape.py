"""A toy search on the pure parts: genomes of a few lines, and a fitness in which lines depend on each other.

Kauffman's NK landscape (Kauffman & Levin 1987): each of N lines adds a number between 0 and 1 that also depends on the
K lines after it. The search is DARWIN's: survivors, parents by selection, one line changed, three-way merges.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from random import Random

from evolution.genetics import alarms, crossover, diversity, lineage, selection
from evolution.genetics.fitness import Individual
from evolution.genetics.selection import Method

LINES = 24
EPISTASIS = 3
Bits = tuple[int, ...]
START: Bits = (0,) * LINES


@dataclass
class Search:
    """One run of the search, and what it looked like at the end of each generation."""

    seed: int
    crossovers: int = 3  # of each generation's places
    places: int = 10
    keep: int = 4
    method: Method = Method.TOURNAMENT
    wanted: Callable[[Bits], float] | None = None  # the fitness; None: the NK landscape of `seed`
    code: dict[int, Bits] = field(default_factory=lambda: {0: START})
    parents: dict[int, list[int]] = field(default_factory=lambda: {0: []})
    born: dict[int, int] = field(default_factory=lambda: {0: 0})
    survivors: list[int] = field(default_factory=lambda: [0])
    best: list[float | None] = field(default_factory=list)  # the lowest "loss" so far, 1 − fitness
    collapses: list[alarms.Collapse] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        self.fitness = self.wanted or landscape(self.seed)
        self.best = [1 - self.fitness(START)]

    def run(self, generations: int) -> float:
        """The fitness of the best found."""
        for generation in range(1, generations + 1):
            self._fill(generation)
            self._select(generation)
        return max(self.fitness(code) for code in self.code.values())

    def _fill(self, generation: int) -> None:
        for place in range(self.places):
            child = self._cross() if place < self.crossovers else None
            code, parents = child or self._mutate()
            number = len(self.code)
            self.code[number], self.parents[number], self.born[number] = code, parents, generation

    def _select(self, generation: int) -> None:
        everyone = [*self.survivors, *(number for number, at in self.born.items() if at == generation)]
        choices = selection.survivors(self._pool(everyone), keep=self.keep, method=self.method, rng=self.rng)
        self.survivors = [int(str(choice.individual.key)) for choice in choices if choice.kept]
        self.best.append(1 - max(self.fitness(code) for code in self.code.values()))
        changes = [{line for line in range(LINES) if self.code[one][line]} for one in self.survivors]
        self.collapses.append(alarms.collapse(
            self.survivors, parents=self.parents, born=self.born, now=generation,
            distance=diversity.mean_distance(changes),
        ))

    def _pool(self, numbers: list[int]) -> list[Individual]:
        """Each code once: what is there already is a duplicate, and never measured."""
        first = {self.code[number]: number for number in reversed(numbers)}
        return [Individual(number, self.fitness(code)) for code, number in first.items()]

    def _parent(self) -> int:
        return int(str(selection.choose(self._pool(self.survivors), method=self.method, rng=self.rng).key))

    def _mutate(self) -> tuple[Bits, list[int]]:
        parent = self._parent()
        return changed(self.code[parent], self.rng), [parent]

    def _cross(self) -> tuple[Bits, list[int]] | None:
        """The merge of two survivors' changes; where they collide the fitter one's lines. None for kin."""
        first, second = sorted((self._parent(), self._parent()), key=lambda one: -self.fitness(self.code[one]))
        ancestor = lineage.nearest_common_ancestor(self.parents, first, second)
        if ancestor is None or ancestor in (first, second):
            return None
        merge = crossover.merge(*(files(self.code[one]) for one in (ancestor, first, second)))
        return bits(merge.tree({place: place.first for place in merge.conflicts})), [first, second]


def changed(code: Bits, rng: Random) -> Bits:
    """One line of `code` the other way round."""
    line = rng.randrange(LINES)
    return (*code[:line], 1 - code[line], *code[line + 1:])


def random_search(seed: int, evaluations: int) -> float:
    """The best of as many independent variants of the start, each with one to eight changed lines."""
    rng, fitness = Random(seed), landscape(seed)
    best = fitness(START)
    for _ in range(evaluations):
        code = START
        for _ in range(rng.randint(1, 8)):
            code = changed(code, rng)
        best = max(best, fitness(code))
    return best


def landscape(seed: int) -> Callable[[Bits], float]:
    @cache
    def part(line: int, here: Bits) -> float:
        return Random(f"{seed}/{line}/{here}").random()

    @cache
    def fitness(code: Bits) -> float:
        ring = code + code
        return sum(part(line, ring[line:line + EPISTASIS + 1]) for line in range(LINES)) / LINES

    return fitness


def files(code: Bits) -> dict[str, bytes]:
    """A program with one line for each bit, and one between any two that nobody changes."""
    return {"a.py": b"".join(b"# %d\nx = %d\n" % (line, bit) for line, bit in enumerate(code))}


def bits(tree: dict[str, bytes]) -> Bits:
    return tuple(int(line[-1:]) for line in tree["a.py"].splitlines()[1::2])
