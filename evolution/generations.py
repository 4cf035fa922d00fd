"""The end of a generation: who survived and why, who leads, and what comes next."""

from random import Random

from django.db import transaction
from django.utils import timezone

from evolution import contests, experiments, live
from evolution.breeding import open_generation
from evolution.genetics import fitness, selection
from evolution.lifecycle import ENDED, advance
from evolution.memory import remember
from evolution.models import Experiment, Generation, Status, Variant

ACTOR = "selection"
JUDGED = (Status.MEASURED, Status.SURVIVED, Status.CULLED)


def close_generation(experiment: Experiment, *, filled: bool) -> bool:
    """Take the next step that is due: settle the baseline, or end the generation under way; whether one was taken.

    A generation ends when the baseline is measured, every variant of it has ended, and it is `filled`: full, or
    nothing more can be proposed.
    """
    baseline = experiment.baseline
    if baseline is None:
        return False
    if baseline.status in ENDED and baseline.status not in JUDGED:
        return _give_up(experiment, baseline)
    start = experiment.generation_rows.get(number=0)
    if start.ended_at is None:
        return baseline.status in JUDGED and _settle_baseline(experiment, baseline, start)
    generation = experiment.generation_rows.get(number=experiment.generation)
    if generation.ended_at is None:
        if generation.number == 0 or not filled or generation.variants.exclude(status__in=ENDED).exists():
            return False
        _select(experiment, generation)
    return _go_on(experiment, generation)


def _give_up(experiment: Experiment, baseline: Variant) -> bool:
    why = baseline.reason or baseline.get_status_display()
    experiments.fail(experiment, reason=f"The baseline gave no number to compare with: {why}")
    return True


@transaction.atomic
def _settle_baseline(experiment: Experiment, baseline: Variant, start: Generation) -> bool:
    """Generation 0 is the baseline alone: it survives, and it leads until something better is measured."""
    reason = "the baseline"
    if baseline.status == Status.MEASURED:
        advance(baseline, Status.SURVIVED, actor=ACTOR, reason=reason)
    _crown(experiment, [baseline])
    _end(experiment, start, [selection.Choice(fitness.Individual(0, None), True, reason)])
    return True


@transaction.atomic
def _select(experiment: Experiment, generation: Generation) -> None:
    """Choose among everything measured and the survivors so far. A race with an override undoes all of it."""
    pool = {
        variant.number: variant
        for variant in experiment.variants.filter(status__in=(Status.MEASURED, Status.SURVIVED)).order_by("number")
    }
    choices = selection.survivors(
        fitness.pool(
            {number: variant.perplexity for number, variant in pool.items()},
            {number: variant.mfu for number, variant in pool.items()},
        ),
        keep=experiment.survivors, method=selection.Method(experiment.selection),
        rng=Random(f"{experiment.seed}/{generation.number}/selection"),  # noqa: S311 chance, not secrecy
    )
    for choice in choices:
        variant = pool[_number(choice)]
        status = Status.SURVIVED if choice.kept else Status.CULLED
        if variant.status != status:
            advance(variant, status, actor=ACTOR, reason=choice.reason)
    _crown(experiment, list(pool.values()))
    _end(experiment, generation, choices)


def _crown(experiment: Experiment, pool: list[Variant]) -> None:
    """Without contests the champion is the lowest perplexity measured so far, on one seed: a lead, not a proof.

    With contests only the first one, the baseline, is crowned here.
    """
    leader = experiment.champion
    if leader is not None and experiment.confirm_pairs:
        return
    candidates = [one for one in pool if fitness.from_perplexity(one.perplexity) is not None]
    best = min(candidates, key=lambda one: (one.perplexity or 0.0, one.number), default=None)
    if best is None or best == leader:
        return
    if leader is not None and (leader.perplexity or 0.0) <= (best.perplexity or 0.0):
        return
    Experiment.objects.filter(pk=experiment.pk).update(champion=best)
    experiment.champion = best
    against = f", against {leader.perplexity:.4g} of {leader}" if leader and leader.perplexity else ""
    remember(experiment, "champion.changed", actor=ACTOR, variant=best, data={
        "variant": best.number, "previous": leader.number if leader else None, "perplexity": best.perplexity,
        "reason": f"the lowest perplexity so far, {best.perplexity:.4g}{against}; one seed, unreplicated",
    })


def _end(experiment: Experiment, generation: Generation, choices: list[selection.Choice]) -> None:
    generation.ended_at = timezone.now()
    generation.save(update_fields=["ended_at"])
    remember(experiment, "generation.ended", actor=ACTOR, data={
        "generation": generation.number,
        "survivors": [_number(choice) for choice in choices if choice.kept],
        "culled": [_number(choice) for choice in choices if not choice.kept],
        "reasons": {str(_number(choice)): choice.reason for choice in choices},
    })
    live.wake(live.EVOLUTION)


def _go_on(experiment: Experiment, generation: Generation) -> bool:
    if generation.number < experiment.generations:
        open_generation(experiment, generation.number + 1)
    elif not contests.is_settled(experiment):
        return False
    else:
        word = "generation" if experiment.generations == 1 else "generations"
        experiments.finish(experiment, reason=f"{experiment.generations} {word} bred and judged")
    return True


def _number(choice: selection.Choice) -> int:
    number = choice.individual.key
    if not isinstance(number, int):
        raise TypeError(f"{number!r} is no variant's number")
    return number
