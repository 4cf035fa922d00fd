"""Crossover in a population: which two survivors, and the merge of what both changed as a draft."""

from itertools import combinations, islice
from random import Random

from evolution.drafting import draft
from evolution.errors import PatchRefused
from evolution.genetics import crossover, lineage
from evolution.genomes import Store
from evolution.models import Experiment, Kind, Variant
from evolution.rounds import Round

PAIRS = 20  # of survivors whose merge is tried
UNITED = "They changed different places of the same ancestor's code, so that a three-way merge holds both changes"
DRAWN = (
    "They changed the same ancestor's code, partly in the same places: there one parent's lines were drawn, elsewhere "
    "a three-way merge holds the changes of both"
)


def cross(one: Round) -> bool:
    """The first draft from generation 2 on: a crossover of two survivors, if there is one that works."""
    if one.generation.number < 2:
        return False
    order = list(one.in_turn(one.rng))
    parents = _parents(one.experiment)
    for first, second in islice(combinations(order, 2), PAIRS):
        files = _merged(one.store, parents, first, second, rng=None)
        if files is not None and _draft_cross(one, first, second, files, drawn=False):
            return True
    for first, second in islice(combinations(order, 2), PAIRS):
        rng = Random(f"{one.experiment.seed}/{first.number}/{second.number}")  # noqa: S311 chance, not secrecy
        files = _merged(one.store, parents, first, second, rng=rng)
        if files is not None and _draft_cross(one, first, second, files, drawn=True):
            return True
    return False


def _parents(experiment: Experiment) -> dict[int, list[int]]:
    rows = experiment.variants.values_list("number", "parent__number", "other_parent__number")
    return {number: [one for one in both if one is not None] for number, *both in rows}


def _merged(
    store: Store, parents: dict[int, list[int]], first: Variant, second: Variant, *, rng: Random | None
) -> crossover.Files | None:
    """The tree with the changes of both; None when they collide (with `rng` a side is drawn) or nothing is new."""
    number = lineage.nearest_common_ancestor(parents, first.number, second.number)
    if number is None or number in (first.number, second.number):
        return None  # strangers; or one descends from the other, and the merge would be the younger one again
    base = first.experiment.variants.get(number=number)
    files = [store.files(variant.commit) for variant in (base, first, second)]
    merged = crossover.merge(*files, rng=rng)
    return None if isinstance(merged, crossover.Conflicts) or merged in files else merged


def _draft_cross(one: Round, first: Variant, second: Variant, files: crossover.Files, *, drawn: bool) -> bool:
    better, other = sorted((first, second), key=lambda parent: parent.perplexity or float("inf"))
    if one.experiment.variants.filter(kind=Kind.CROSSOVER, parent=better, other_parent=other).exists():
        return False
    try:
        draft(
            one.experiment, parent=better, other_parent=other, files=files, kind=Kind.CROSSOVER,
            author="operator:crossover", generation=one.generation, title=f"Crossover of {better} and {other}",
            hypothesis=f"What {better} (“{better.title}”) and {other} (“{other.title}”) changed helps together too.",
            rationale=f"{DRAWN if drawn else UNITED}; recombining what survived is what sets a genetic algorithm apart "
            "(Holland 1975).",
            expected=f"a lower perplexity than that of {better}",
        )
    except PatchRefused:
        return False  # touches a file that may no longer be changed: the next pair, or a mutation
    return True
