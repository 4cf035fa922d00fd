"""How healthy the search of an experiment is: its diversity, its alarms, and a line in the journal for each change."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from django.db.models import Max, Min

from evolution.descent import Family, family_of
from evolution.efficiency import noise_of
from evolution.genetics import alarms, diversity
from evolution.genetics.alarms import Collapse, Stagnation
from evolution.genomes import Store, store_of
from evolution.memory import MEASURED, remember
from evolution.models import Experiment, Status, Variant

ACTOR = "selection"
CHANGED = "health.changed"
STAGNATION = "stagnation"
COLLAPSE = "collapse"
COMPARED = 12  # survivors whose code is compared, the best of them: pairs grow with the square
DOES = {
    STAGNATION: "tournaments are smaller, the best of lost lineages and the baseline may be changed too, and one place "
                "of each generation starts again from one of them",
    COLLAPSE: "a quarter of the survivors' places, one at least, goes to the variants that are most unlike the others "
              "and better than the baseline",
}

Changes = frozenset[Hashable]  # lines that a variant added to or took from the baseline


@dataclass(frozen=True)
class Health:
    """What the last generation that ended left behind."""

    generation: int
    survivors: int
    distance: float | None  # mean, between the survivors' changes to the baseline, 0 … 1
    spread: float | None  # standard deviation of their screened losses, nats
    lineages: float  # effective number
    families: float  # effective number of kinds of change
    stagnation: Stagnation
    collapse: Collapse


def of(experiment: Experiment) -> Health:
    """The health of `experiment`, from its rows and the survivors' code."""
    survivors = list(experiment.variants.filter(status=Status.SURVIVED).order_by("perplexity", "number"))
    family, now = family_of(experiment), _last_ended(experiment)
    return Health(
        generation=now, survivors=len(survivors),
        distance=diversity.mean_distance(_changes(experiment, survivors)),
        spread=diversity.spread(_loss(one.perplexity) for one in survivors),
        lineages=diversity.effective_lineages(family.founders(survivors)),
        families=diversity.effective_number(_kinds(survivors)),
        stagnation=alarms.stagnation(best_losses(experiment, now), noise=noise_of(experiment)),
        collapse=_collapse(experiment, survivors, family, now),
    )


def _collapse(experiment: Experiment, survivors: Sequence[Variant], family: Family, now: int) -> Collapse:
    """How alike those are that survive by what they can do."""
    able = [one for one in survivors if one.reason != diversity.KEPT]
    return alarms.collapse(
        [one.number for one in able], parents=family.parents, born=family.born, now=now,
        distance=diversity.mean_distance(_changes(experiment, able)), reserved=len(survivors) - len(able),
    )


def is_on(experiment: Experiment, alarm: str) -> bool:
    """Whether `alarm` rings, as the journal has it: what is done about it is done while the page says so."""
    last = experiment.events.filter(kind=CHANGED, data__alarm=alarm).last()
    return bool(last is not None and last.data["is_on"])


def watch(experiment: Experiment) -> Health:
    """Look at the health of `experiment` and write down each alarm that begins or ends. In the caller's transaction."""
    health = of(experiment)
    for alarm, now, numbers in (
        (STAGNATION, health.stagnation.is_on, _stagnation_numbers(health.stagnation)),
        (COLLAPSE, health.collapse.is_on, _collapse_numbers(health)),
    ):
        if now != is_on(experiment, alarm):
            remember(experiment, CHANGED, actor=ACTOR, data={
                "alarm": alarm, "is_on": now, "generation": health.generation, **numbers,
                "does": DOES[alarm] if now else "nothing more: the search goes on as before",
            })
    return health


def _stagnation_numbers(found: Stagnation) -> dict[str, float | int | None]:
    return {"gain": found.gain, "noise": found.noise, "generations": found.generations}


def _collapse_numbers(health: Health) -> dict[str, float | int | None]:
    found = health.collapse
    return {
        "distance": found.distance, "ancestor": found.ancestor, "age": found.age, "lineages": health.lineages,
        "families": health.families, "survivors": health.survivors,
    }


def best_losses(experiment: Experiment, last: int) -> list[float | None]:
    """The lowest screened loss up to the end of each generation from 0 to `last`, nats."""
    rows = experiment.variants.filter(status__in=MEASURED, perplexity__gt=0).values_list("generation__number")
    lowest = dict(rows.annotate(lowest=Min("perplexity")))
    found: list[float | None] = []
    for generation in range(last + 1):
        known = [loss for loss in (_loss(lowest.get(generation)), found[-1] if found else None) if loss is not None]
        found.append(min(known, default=None))
    return found


def changes_of(store: Store, baseline: Variant, variant: Variant) -> Changes:
    """The lines that `variant` added to its baseline and that it took away, without their indentation."""
    before, after = _lines(store, baseline), _lines(store, variant)
    return frozenset({("+", *line) for line in after - before} | {("-", *line) for line in before - after})


def _lines(store: Store, variant: Variant) -> set[tuple[str, bytes]]:
    return {
        (path, line.strip())
        for path, content in store.files(variant.commit).items()
        for line in content.splitlines() if line.strip()
    }


def _changes(experiment: Experiment, survivors: Sequence[Variant]) -> list[Changes]:
    baseline, store = experiment.baseline, store_of(experiment)
    return [] if baseline is None else [changes_of(store, baseline, one) for one in survivors[:COMPARED]]


def _kinds(survivors: Sequence[Variant]) -> list[float]:
    """How many survivors made each kind of change; whoever has none recorded is known by its author."""
    kinds = [one.family or one.author for one in survivors]
    return [float(kinds.count(kind)) for kind in sorted(set(kinds))]


def _last_ended(experiment: Experiment) -> int:
    ended = experiment.generation_rows.filter(ended_at__isnull=False)
    return int(ended.aggregate(last=Max("number"))["last"] or 0)


def _loss(perplexity: float | None) -> float | None:
    return math.log(perplexity) if perplexity and perplexity > 0 and math.isfinite(perplexity) else None
