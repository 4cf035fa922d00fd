"""The end of a generation: who survived and why, who leads, and what comes next."""

from django.db import transaction
from django.utils import timezone

from evolution import contests, experiments, health, live, strategies, surviving
from evolution.breeding import is_full, next_broken, open_generation
from evolution.genetics import fitness
from evolution.lifecycle import ENDED, advance
from evolution.memory import remember
from evolution.models import Experiment, Generation, Pace, Status, Variant

ACTOR = "selection"
JUDGED = (Status.MEASURED, Status.SURVIVED, Status.CULLED)


def close_generation(experiment: Experiment, *, filled: bool) -> bool:
    """Take the next step that is due: settle the baseline, or end the generation under way; whether one was taken.

    A generation ends when the baseline is measured, every variant of it has ended, and it is `filled`: full, or
    nothing more can be proposed. In a steady pace generations overlap: the next begins as soon as one is filled, and
    who survives is chosen again after each measurement.
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
    if experiment.pace == Pace.STEADY:
        over = filled or generation.ended_at is not None
        return _replace(experiment) or _end_window(experiment, over) or _go_on(experiment, generation, filled=over)
    if generation.ended_at is None:
        if generation.number == 0 or not filled or _has_waiting(generation):
            return False
        _select(experiment, generation)
    return _go_on(experiment, generation, filled=True)


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
    _end(experiment, start, [surviving.Choice(baseline, True, reason)])
    return True


def _has_latecomers(experiment: Experiment) -> bool:
    """Whether a variant is still on its road: people may propose until an experiment is over."""
    return experiment.variants.exclude(status__in=ENDED).exists()


def _has_waiting(generation: Generation) -> bool:
    return generation.variants.exclude(status__in=ENDED).exists()


@transaction.atomic
def _select(experiment: Experiment, generation: Generation) -> None:
    """Choose among everything measured and the survivors so far. A race with an override undoes all of it."""
    _end(experiment, generation, _applied(experiment, surviving.choose(experiment, generation)))


@transaction.atomic
def _replace(experiment: Experiment) -> bool:
    """The survivors of a steady pace, chosen again once somebody was measured; whether somebody was."""
    if not experiment.variants.filter(status=Status.MEASURED).exists():
        return False
    _applied(experiment, surviving.replace(experiment))
    return True


def _applied(experiment: Experiment, choices: list[surviving.Choice]) -> list[surviving.Choice]:
    """`choices`, once every variant has the status they say and the leader is crowned."""
    for choice in choices:
        status = Status.SURVIVED if choice.kept else Status.CULLED
        if choice.variant.status != status:
            advance(choice.variant, status, actor=ACTOR, reason=choice.reason)
    _crown(experiment, [choice.variant for choice in choices])
    return choices


@transaction.atomic
def _end_window(experiment: Experiment, filled: bool) -> bool:
    """End the oldest generation of a steady pace that is full and has nobody under way; whether there was one."""
    broken = next_broken(experiment) if strategies.mender(experiment) else None
    for window in experiment.generation_rows.filter(ended_at=None, number__gt=0):
        mending = broken is not None and broken.generation == window
        if (filled or is_full(window)) and not mending and not _has_waiting(window):
            _end(experiment, window, _standing(experiment, window))
            return True
    return False


def _standing(experiment: Experiment, window: Generation) -> list[surviving.Choice]:
    """Who survives now, and who of `window` was culled, each with the reason it was given then."""
    kept = experiment.variants.filter(status=Status.SURVIVED)
    culled = window.variants.filter(status=Status.CULLED)
    return [surviving.Choice(one, one.status == Status.SURVIVED, one.reason) for one in [*kept, *culled]]


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


def _end(experiment: Experiment, generation: Generation, choices: list[surviving.Choice]) -> None:
    generation.ended_at = timezone.now()
    generation.save(update_fields=["ended_at"])
    remember(experiment, "generation.ended", actor=ACTOR, data={
        "generation": generation.number,
        "survivors": [one.variant.number for one in choices if one.kept],
        "culled": [one.variant.number for one in choices if not one.kept],
        "reasons": {str(one.variant.number): one.reason for one in choices},
    })
    health.watch(experiment)
    live.wake(live.EVOLUTION)


def _go_on(experiment: Experiment, generation: Generation, *, filled: bool) -> bool:
    """Begin the next generation, or end the experiment when all are over."""
    if generation.number < experiment.generations:
        if not filled:
            return False
        open_generation(experiment, generation.number + 1)
    elif experiment.generation_rows.filter(ended_at=None).exists() or _has_latecomers(experiment):
        return False
    elif _replace(experiment):  # a person's patch that was measured since competes with the survivors
        return True
    elif not contests.is_settled(experiment):
        return False
    else:
        word = "generation" if experiment.generations == 1 else "generations"
        experiments.finish(experiment, reason=f"{experiment.generations} {word} bred and judged")
    return True
