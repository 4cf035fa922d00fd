"""Who descends from whom in an experiment, as `genetics.lineage` takes it, and what is left of other lineages."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evolution.genetics import lineage
from evolution.models import Experiment, Status, Variant

ARCHIVED = 3  # lineages besides those of the survivors that are worth coming back to


@dataclass(frozen=True)
class Family:
    """Parents and generation of every variant of an experiment, by number."""

    parents: dict[int, list[int]]
    born: dict[int, int]

    def founders(self, variants: Iterable[Variant]) -> list[set[int]]:
        return [lineage.founders(self.parents, one.number) for one in variants]


def family_of(experiment: Experiment) -> Family:
    rows = experiment.variants.values_list(
        "number", "generation__number", "parent__number", "other_parent__number"
    )
    known = {number: (born, [one for one in both if one is not None]) for number, born, *both in rows}
    return Family(
        parents={number: both for number, (_, both) in known.items()},
        born={number: born for number, (born, _) in known.items()},
    )


def archive(experiment: Experiment, survivors: Sequence[Variant]) -> list[Variant]:
    """The best culled variant of each lineage that no survivor belongs to, the best ARCHIVED, and the baseline last."""
    family = family_of(experiment)
    taken: set[int] = set().union(*family.founders(survivors))
    found: list[Variant] = []
    culled = experiment.variants.filter(status=Status.CULLED, perplexity__isnull=False, parent__isnull=False)
    for variant in culled.order_by("perplexity", "number"):
        founders = lineage.founders(family.parents, variant.number)
        if len(found) < ARCHIVED and not founders & taken:
            found.append(variant)
            taken |= founders
    baseline = experiment.baseline
    return [*found, *([baseline] if baseline is not None and baseline not in survivors else [])]
