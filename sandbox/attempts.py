"""Claiming, writing and ending attempts. Every write carries the fence: who lost the lease changes nothing."""

import os
import socket
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from evolution import experiments, lifecycle, live
from evolution.errors import DarwinError, StaleTransition
from evolution.memory import remember
from evolution.models import ExperimentStatus, Status, Variant
from sandbox import rungs
from sandbox.devices import Device
from sandbox.models import ACTIVE, Attempt, AttemptState, Purpose, Trial, Verdict
from sandbox.outcome import Outcome
from trainer.contract import OURS, Cause

ACTOR = "sandbox"
LEASE = timedelta(seconds=20)
INFRASTRUCTURE_TRIES = 3
REPLICATED = ("val_loss", "perplexity", "mfu", "tokens_per_second", "device_seconds")


class LostLease(DarwinError):
    """Another runner has taken this attempt over, or it is over: stop, and write nothing."""


def open_attempt(variant: Variant, purpose: Purpose, device: Device, *, seed: int | None = None) -> Attempt | None:
    """Reserve `device` for the next try at `variant`'s trial, or None when somebody was faster.

    `seed` is a confirmation run's; without it the experiment's screening seed is meant.
    """
    experiment = variant.experiment
    try:
        with transaction.atomic():
            trial, _ = Trial.objects.get_or_create(
                variant=variant, purpose=purpose, seed=experiment.seed if seed is None else seed,
                defaults=_budget(variant, purpose),
            )
            if trial.verdict:  # an override: the same seed again, as a new try at the same trial
                Trial.objects.filter(pk=trial.pk).update(verdict="", cause="", detail="", ended_at=None)
            attempt = Attempt.objects.create(trial=trial, number=trial.attempts.count() + 1, device=device.name)
            if variant.status == Status.APPROVED and purpose != Purpose.CONFIRM:
                lifecycle.advance(variant, Status.TRAINING, actor=ACTOR, reason=f"on {device.name}")
            remember(experiment, "trial.started", actor=ACTOR, variant=variant, data={
                "variant": variant.number, "purpose": purpose.value, "seed": trial.seed, "attempt": attempt.number,
                "budget_tokens": trial.budget_tokens, "budget_seconds": trial.budget_seconds,
            })
            return attempt
    except (IntegrityError, StaleTransition):
        return None


def _budget(variant: Variant, purpose: Purpose) -> dict[str, Any]:
    """The experiment's budget; a confirmation run has exactly the one its variant was screened with."""
    scored = variant.trials.filter(purpose=Purpose.SCORE).last() if purpose == Purpose.CONFIRM else None
    source = scored or variant.experiment
    return {"budget_tokens": source.budget_tokens, "budget_seconds": source.budget_seconds}


def claim(attempt_id: int) -> Attempt:
    """Take the lease of a free or orphaned attempt under a new fence, or LostLease."""
    now = timezone.now()
    free = Q(lease_expires__isnull=True) | Q(lease_expires__lt=now)
    taken = Attempt.objects.filter(free, pk=attempt_id, state__in=ACTIVE).update(
        fence=F("fence") + 1, lease_owner=owner(), lease_expires=now + LEASE, heartbeat_at=now
    )
    if not taken:
        raise LostLease(f"attempt {attempt_id} belongs to another runner, or is over")
    return Attempt.objects.select_related("trial__variant__experiment__baseline").get(pk=attempt_id)


def owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def write(attempt: Attempt, **fields: Any) -> None:
    """Change a claimed attempt, or LostLease."""
    if not Attempt.objects.filter(pk=attempt.pk, fence=attempt.fence, state__in=ACTIVE).update(**fields):
        raise LostLease(f"attempt {attempt.pk} belongs to another runner, or is over")
    for name, value in fields.items():
        setattr(attempt, name, value)


def heartbeat(attempt: Attempt, *, progress: float) -> bool:
    """Renew the lease; False when the run is no longer wanted and the attempt should be given up."""
    now = timezone.now()
    moved = {"progress_at": now, "progress": progress} if progress > attempt.progress else {}
    write(attempt, heartbeat_at=now, lease_expires=now + LEASE, **moved)
    variant = Variant.objects.select_related("experiment").get(pk=attempt.trial.variant_id)
    return variant.experiment.status != ExperimentStatus.STOPPED and _is_wanted(attempt.trial, variant)


def _is_wanted(trial: Trial, variant: Variant) -> bool:
    if trial.purpose == Purpose.CONFIRM:
        return variant.replicates.filter(seed=trial.seed, wanted=True, verdict="").exists()
    return variant.status == (Status.SCREENED if trial.purpose == Purpose.CHECK else Status.TRAINING)


@transaction.atomic
def finish(attempt: Attempt, outcome: Outcome) -> None:
    """Write how the attempt ended; unless it is to be tried again, the trial and the variant end with it."""
    ours = outcome.cause in OURS
    live.wake(live.SANDBOX)  # a device is free
    write(attempt, state=AttemptState.ENDED, ended_at=timezone.now(), lease_expires=None, exit_code=outcome.exit_code,
          cause=outcome.cause or "", log_tail=outcome.log_tail, progress=outcome.progress)
    variant = Variant.objects.select_related("experiment").get(pk=attempt.trial.variant_id)
    if ours:
        _give_up_in_time(attempt, variant, outcome)
    elif not _is_to_be_confirmed(attempt, outcome):
        _end_trial(attempt, variant, outcome)


def _is_to_be_confirmed(attempt: Attempt, outcome: Outcome) -> bool:
    """A neighbour on the same cores costs a CPU trial device seconds: too many of them count when seen twice."""
    seen = attempt.trial.attempts.filter(cause=Cause.DEVICE_TIME).count()
    return outcome.cause == Cause.DEVICE_TIME and attempt.device.endswith("/cpu") and seen % 2 == 1


def _end_trial(attempt: Attempt, variant: Variant, outcome: Outcome) -> None:
    trial = attempt.trial
    Trial.objects.filter(pk=trial.pk).update(
        verdict=outcome.verdict, cause=outcome.cause or "", detail=outcome.detail, result=outcome.record(),
        ended_at=timezone.now(),
    )
    remember(variant.experiment, "trial.ended", actor=ACTOR, variant=variant, data={
        "variant": variant.number, "purpose": trial.purpose, "seed": trial.seed, "attempt": attempt.number,
        "verdict": outcome.verdict, "cause": outcome.cause or "", "detail": outcome.detail, "result": outcome.record(),
        "traceback": outcome.traceback,
    })
    if trial.purpose == Purpose.CONFIRM:
        _end_replicate(trial, variant, outcome)
    elif outcome.cause == Cause.CANCELLED:
        _end_cancelled(variant)
    elif trial.purpose == Purpose.CHECK:
        _end_check(variant, outcome)
    else:
        _end_score(variant, outcome)


def _give_up_in_time(attempt: Attempt, variant: Variant, outcome: Outcome) -> None:
    tries = attempt.trial.attempts.filter(cause=Cause.INFRASTRUCTURE).count()
    if outcome.cause == Cause.INFRASTRUCTURE and tries % INFRASTRUCTURE_TRIES == 0:
        if variant.status == Status.TRAINING:
            lifecycle.advance(variant, Status.APPROVED, actor=ACTOR, reason="the sandbox failed; waits for a resume")
        if variant.experiment.status == ExperimentStatus.RUNNING:
            reason = f"The sandbox failed {tries} times: {outcome.detail}"
            experiments.pause(variant.experiment, actor=ACTOR, reason=reason)


def _end_cancelled(variant: Variant) -> None:
    """Whoever called it off has moved the variant; a stopped experiment leaves that to us."""
    if variant.status == Status.TRAINING and variant.experiment.status == ExperimentStatus.STOPPED:
        lifecycle.advance(variant, Status.CANCELLED, actor=ACTOR, reason="the experiment was stopped")


def _end_replicate(trial: Trial, variant: Variant, outcome: Outcome) -> None:
    """The run's numbers go to its replicate, the variant stays what it is. Called off, it may be asked for again."""
    if outcome.cause == Cause.CANCELLED:
        return
    numbers = {name: outcome.numbers.get(name) for name in REPLICATED} if outcome.verdict == Verdict.MEASURED else {}
    variant.replicates.filter(seed=trial.seed, verdict="").update(
        verdict=outcome.verdict, reason=outcome.sentence() if outcome.cause else "", ended_at=timezone.now(), **numbers
    )
    live.wake(live.EVOLUTION)


def _end_check(variant: Variant, outcome: Outcome) -> None:
    if variant.status != Status.SCREENED:
        return  # called off meanwhile
    passed = outcome.verdict == Verdict.MEASURED
    for rung in rungs.climbed(outcome):
        variant.checks.update_or_create(name=rung.name, defaults={
            "passed": rung.passed, "detail": rung.detail, "seconds": rung.seconds,
        })
        remember(variant.experiment, "check.done", actor=ACTOR, variant=variant, data={
            "variant": variant.number, "check": rung.name, "passed": rung.passed, "detail": rung.detail,
        })
    new = Status.CHECKED if passed else Status.STILLBORN
    lifecycle.advance(variant, new, actor=ACTOR, reason="" if passed else outcome.sentence())


def _end_score(variant: Variant, outcome: Outcome) -> None:
    if variant.status != Status.TRAINING:
        return  # stopped by its owner meanwhile
    if outcome.verdict == Verdict.MEASURED:
        lifecycle.advance(variant, Status.MEASURED, actor=ACTOR, **outcome.columns())
    else:
        new = Status.FAILED if outcome.verdict == Verdict.FAILED else Status.REJECTED
        lifecycle.advance(variant, new, actor=ACTOR, reason=outcome.sentence())
