"""Who of a population survives: everything measured and the survivors so far, as selection sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from evolution import descent, health
from evolution.genetics import diversity, fitness, selection
from evolution.genomes import store_of
from evolution.models import Experiment, Generation, Status, Variant
from evolution.rounds import individuals

NOVEL = 0.25  # of the survivors' places, one at least, while the population is collapsed


@dataclass(frozen=True)
class Choice:
    """What selection decided about a variant, and why."""

    variant: Variant
    kept: bool
    reason: str


def choose(experiment: Experiment, generation: Generation) -> list[Choice]:
    """The survivors at the end of `generation`, drawn by the experiment's method."""
    candidates, method = _candidates(experiment), selection.Method(experiment.selection)
    choices = selection.survivors(
        individuals(candidates, method), keep=experiment.survivors, method=method, elites=experiment.elites,
        rng=Random(f"{experiment.seed}/{generation.number}/selection"),  # noqa: S311 chance, not secrecy
    )
    return _diverse(experiment, candidates, choices)


def replace(experiment: Experiment) -> list[Choice]:
    """The survivors of a steady pace after a measurement: the best of old and new."""
    candidates, method = _candidates(experiment), selection.Method(experiment.selection)
    choices = selection.replacement(individuals(candidates, method), keep=experiment.survivors, method=method)
    return _diverse(experiment, candidates, choices)


def _candidates(experiment: Experiment) -> list[Variant]:
    return list(experiment.variants.filter(status__in=(Status.MEASURED, Status.SURVIVED)).order_by("number"))


def _diverse(
    experiment: Experiment, candidates: Sequence[Variant], choices: Sequence[selection.Choice]
) -> list[Choice]:
    """`choices`, where a collapsed population keeps some places for who is unlike the rest, culled ones too."""
    if experiment.is_plain or not health.is_on(experiment, health.COLLAPSE):
        return [Choice(variant, one.kept, one.reason) for variant, one in zip(candidates, choices, strict=True)]
    archived = [one for one in descent.archive(experiment, candidates) if one != experiment.baseline]
    everyone, method = [*candidates, *archived], selection.Method(experiment.selection)
    lost = individuals(everyone, method)[len(candidates):]
    diverse = diversity.with_novelty(
        [*choices, *(selection.Choice(one, False, "culled before") for one in lost)],
        places=max(1, round(NOVEL * experiment.survivors)), distance=_distance(experiment, everyone),
        viable=_viable(experiment, method),
    )
    return [
        Choice(variant, one.kept, one.reason)
        for variant, one in zip(everyone, diverse, strict=True) if one.kept or variant not in archived
    ]


def _distance(experiment: Experiment, variants: Sequence[Variant]) -> diversity.Distance:
    baseline, store = experiment.baseline, store_of(experiment)
    if baseline is None:
        raise ValueError(f"{experiment} has no baseline to compare code with")
    return diversity.jaccard_between({one.number: health.changes_of(store, baseline, one) for one in variants})


def _viable(experiment: Experiment, method: selection.Method) -> float:
    """The baseline's fitness: what is no better than doing nothing is not kept for being different."""
    baseline = experiment.baseline
    return fitness.of(method.objective, baseline.perplexity, baseline.mfu) or 0.0 if baseline else 0.0
