"""Attempts: who may claim them, who may write them, and what their end means for trial and variant."""

from datetime import timedelta

import pytest
from django.utils import timezone

from evolution import experiments
from evolution.lifecycle import advance
from evolution.models import Experiment, ExperimentStatus, Replicate, Status, Variant
from sandbox import attempts, station
from sandbox.attempts import LostLease
from sandbox.devices import Device
from sandbox.models import Attempt, AttemptState, Purpose, Trial
from sandbox.outcome import Outcome
from tests import cast
from trainer.contract import Cause

pytestmark = pytest.mark.django_db

CPU = Device(name="host/cpu", gpu=None, model="CPU")
NUMBERS = {"val_loss": 2.0, "perplexity": 7.4, "tokens_per_second": 1000.0, "device_seconds": 3.0}


@pytest.fixture
def experiment() -> Experiment:
    return cast.bred(cast.experiment("attempts"))


@pytest.fixture
def approved(experiment: Experiment) -> Variant:
    return cast.move(cast.mutation(experiment), Status.SCREENED, Status.CHECKED, Status.APPROVED)


def opened(variant: Variant, purpose: Purpose = Purpose.SCORE) -> Attempt:
    attempt = attempts.open_attempt(variant, purpose, CPU)
    assert attempt is not None
    return attempts.claim(attempt.pk)


def status_of(variant: Variant) -> str:
    return Variant.objects.get(pk=variant.pk).status


def test_a_device_has_one_attempt_at_a_time(experiment: Experiment, approved: Variant) -> None:
    opened(approved)
    other = cast.move(cast.mutation(experiment, rate=9.0), Status.SCREENED, Status.CHECKED, Status.APPROVED)
    assert attempts.open_attempt(other, Purpose.SCORE, CPU) is None
    assert status_of(other) == Status.APPROVED


def test_opening_an_attempt_moves_an_approved_variant_to_training(approved: Variant) -> None:
    opened(approved)
    assert status_of(approved) == Status.TRAINING


def test_a_claimed_attempt_cannot_be_claimed_again_while_its_lease_lasts(approved: Variant) -> None:
    attempt = opened(approved)
    with pytest.raises(LostLease):
        attempts.claim(attempt.pk)


def test_who_lost_the_lease_writes_nothing(approved: Variant) -> None:
    first = opened(approved)
    Attempt.objects.update(lease_expires=timezone.now() - timedelta(seconds=1))
    second = attempts.claim(first.pk)
    with pytest.raises(LostLease):
        attempts.finish(first, Outcome(numbers=dict(NUMBERS)))
    assert Trial.objects.get().verdict == ""
    attempts.finish(second, Outcome(numbers=dict(NUMBERS)))
    assert Trial.objects.get().verdict == "measured"


def test_a_measured_trial_gives_its_numbers_to_the_variant(approved: Variant) -> None:
    attempts.finish(opened(approved), Outcome(numbers=dict(NUMBERS)))
    approved.refresh_from_db()
    assert (approved.status, approved.perplexity, approved.mfu) == (Status.MEASURED, 7.4, None)


@pytest.mark.parametrize(("cause", "status"), [
    (Cause.CRASHED, Status.FAILED), (Cause.NO_CHECKPOINT, Status.FAILED), (Cause.PEEKED, Status.REJECTED),
])
def test_a_failed_or_rejected_variant_is_never_tried_again(approved: Variant, cause: Cause, status: Status) -> None:
    attempts.finish(opened(approved), Outcome(cause=cause, detail="why"))
    assert status_of(approved) == status
    assert Variant.objects.get(pk=approved.pk).reason == f"{cause}: why"
    assert approved.pk not in {variant.pk for variant, _, _ in station._inbox()}


@pytest.mark.parametrize("cause", [Cause.INTERRUPTED, Cause.INFRASTRUCTURE])
def test_what_was_our_fault_is_tried_again(approved: Variant, cause: Cause) -> None:
    attempts.finish(opened(approved), Outcome(cause=cause))
    assert status_of(approved) == Status.TRAINING
    assert (approved.pk, Purpose.SCORE) in {(variant.pk, purpose) for variant, purpose, _ in station._inbox()}


def test_three_failures_of_the_sandbox_pause_the_experiment_and_lose_nothing(approved: Variant) -> None:
    for _ in range(3):
        variant = Variant.objects.select_related("experiment").get(pk=approved.pk)
        attempts.finish(opened(variant), Outcome(cause=Cause.INFRASTRUCTURE, detail="the engine is gone"))
    experiment = Experiment.objects.get(pk=approved.experiment_id)
    assert experiment.status == ExperimentStatus.PAUSED
    assert "the engine is gone" in experiment.reason
    assert status_of(approved) == Status.APPROVED
    experiments.resume(experiment, actor="user:olivia")
    assert approved.pk in {variant.pk for variant, _, _ in station._inbox()}


def test_too_much_device_time_on_a_cpu_counts_when_it_is_seen_twice(approved: Variant) -> None:
    attempts.finish(opened(approved), Outcome(cause=Cause.DEVICE_TIME))
    assert status_of(approved) == Status.TRAINING
    attempts.finish(opened(Variant.objects.get(pk=approved.pk)), Outcome(cause=Cause.DEVICE_TIME))
    assert status_of(approved) == Status.FAILED


@pytest.mark.parametrize(("cause", "status"), [(None, Status.CHECKED), (Cause.LOAD_FAILED, Status.STILLBORN)])
def test_a_check_lets_through_or_not_and_leaves_its_verdict(
    experiment: Experiment, cause: Cause | None, status: Status
) -> None:
    variant = cast.move(cast.mutation(experiment), Status.SCREENED)
    attempts.finish(opened(variant, Purpose.CHECK), Outcome(cause=cause))
    assert status_of(variant) == status
    assert [one.passed for one in variant.checks.all()] == ([True, True] if cause is None else [False])


def test_stopping_an_experiment_ends_its_training(approved: Variant) -> None:
    attempt = opened(approved)
    assert attempts.heartbeat(attempt, progress=0.5)
    experiments.stop(Experiment.objects.get(pk=approved.experiment_id), actor="user:olivia", reason="enough")
    assert not attempts.heartbeat(attempt, progress=0.6)
    attempts.finish(attempt, Outcome(cause=Cause.CANCELLED))
    assert status_of(approved) == Status.CANCELLED
    assert Attempt.objects.get().state == AttemptState.ENDED


def test_nothing_is_trained_before_the_baseline_is_measured() -> None:
    fresh = cast.experiment("early")
    variant = cast.move(cast.mutation(fresh), Status.SCREENED, Status.CHECKED, Status.APPROVED)
    assert variant.pk not in {one.pk for one, _, _ in station._inbox()}


def test_a_paused_experiment_starts_nothing(approved: Variant) -> None:
    experiments.pause(Experiment.objects.get(pk=approved.experiment_id), actor="user:olivia")
    assert station._inbox() == []


def test_checks_come_before_trainings(experiment: Experiment, approved: Variant) -> None:
    screened = cast.move(cast.mutation(experiment, rate=7.0), Status.SCREENED)
    assert [variant.pk for variant, _, _ in station._inbox()] == [screened.pk, approved.pk]


def test_a_variant_that_moved_meanwhile_is_not_opened(approved: Variant) -> None:
    stale = Variant.objects.select_related("experiment").get(pk=approved.pk)
    advance(approved, Status.CANCELLED, actor="user:olivia")
    assert attempts.open_attempt(stale, Purpose.SCORE, CPU) is None
    assert not Attempt.objects.exists()


@pytest.fixture
def asked(experiment: Experiment) -> Replicate:
    """A confirmation run of a survivor, which was screened with a budget of its own."""
    survivor = cast.move(cast.measured(cast.mutation(experiment), 9.0), Status.SURVIVED)
    Trial.objects.create(variant=survivor, purpose=Purpose.SCORE, seed=experiment.seed, budget_tokens=12_345)
    return Replicate.objects.create(variant=survivor, seed=77, drawn_at=timezone.now())


def confirming(run: Replicate) -> Attempt:
    attempt = attempts.open_attempt(run.variant, Purpose.CONFIRM, CPU, seed=run.seed)
    assert attempt is not None
    return attempts.claim(attempt.pk)


def test_a_confirmation_run_has_its_own_seed_and_the_budget_of_the_screening(asked: Replicate) -> None:
    trial = confirming(asked).trial
    assert (trial.seed, trial.budget_tokens) == (77, 12_345)


def test_a_confirmation_run_waits_behind_checks_and_trainings(
    experiment: Experiment, asked: Replicate, approved: Variant
) -> None:
    assert [(one.pk, purpose, seed) for one, purpose, seed in station._inbox()] == [
        (approved.pk, Purpose.SCORE, None), (asked.variant_id, Purpose.CONFIRM, 77)
    ]
    experiments.pause(experiment, actor="user:olivia")
    assert station._inbox() == []


def test_a_confirmation_run_is_not_started_twice(asked: Replicate) -> None:
    confirming(asked)
    assert station._inbox() == []


def test_a_measured_confirmation_run_fills_its_replicate_and_leaves_the_variant(asked: Replicate) -> None:
    attempts.finish(confirming(asked), Outcome(numbers=NUMBERS))
    asked.refresh_from_db()
    assert (asked.verdict, asked.val_loss, asked.device_seconds) == ("measured", 2.0, 3.0)
    variant = Variant.objects.get(pk=asked.variant_id)
    assert (variant.status, variant.perplexity) == (Status.SURVIVED, 9.0)
    ended = variant.events.get(kind="trial.ended").data
    assert (ended["purpose"], ended["seed"]) == ("confirm", 77)


def test_a_failed_confirmation_run_says_why_and_has_no_number(asked: Replicate) -> None:
    attempts.finish(confirming(asked), Outcome(cause=Cause.CRASHED, detail="exit code 1", numbers=NUMBERS))
    asked.refresh_from_db()
    assert (asked.verdict, asked.val_loss) == ("failed", None)
    assert "exit code 1" in asked.reason


def test_a_confirmation_run_that_is_no_longer_wanted_is_given_up_and_may_be_asked_for_again(asked: Replicate) -> None:
    attempt = confirming(asked)
    assert attempts.heartbeat(attempt, progress=0.1)
    Replicate.objects.filter(pk=asked.pk).update(wanted=False)
    assert not attempts.heartbeat(attempt, progress=0.2)
    attempts.finish(attempt, Outcome(cause=Cause.CANCELLED))
    assert station._inbox() == []
    Replicate.objects.filter(pk=asked.pk).update(wanted=True)
    assert [seed for _, _, seed in station._inbox()] == [77]
    assert confirming(asked).number == 2


def test_a_confirmation_run_is_tried_again_when_the_sandbox_failed(asked: Replicate) -> None:
    attempts.finish(confirming(asked), Outcome(cause=Cause.INFRASTRUCTURE, detail="the engine died"))
    asked.refresh_from_db()
    assert asked.verdict == ""
    assert [seed for _, _, seed in station._inbox()] == [77]
