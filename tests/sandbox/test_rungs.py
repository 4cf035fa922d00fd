"""What a check holds a genome to, and how a check that is over reads rung by rung."""

import math
from typing import Any

import pytest

from sandbox import rungs
from sandbox.outcome import Outcome
from sandbox.rungs import CHECKPOINT, FEW, SHAPES, SHORT, climbed, of_loss, of_speed
from sandbox.trial import Baseline
from trainer.contract import Cause

UNIFORM = math.log(256)
PHASES = {"start": 1.0, "import": 2.0, "setup": 1.5, "train": 2.0, "save": 0.5, "end": 0.1, "judge": 3.0}
TRIED = {"passed": True, "detail": "every shape fits", "seconds": 1.2}
NUMBERS = {"rehearsal": TRIED, "batches": 48, "few_seconds": 0.5, "first_loss": 5.5, "val_loss": 3.0}


def cause(loss: float | None, first: float | None, claimed: float | None = None) -> Cause | None:
    refusal = of_loss({"val_loss": loss, "first_loss": first}, {"loss": claimed}, vocab_size=256)
    return refusal[0] if refusal else None


@pytest.mark.parametrize(("loss", "first", "claimed"), [
    (3.0, 5.5, 3.1),
    (5.5, 5.55, None),  # a rate that only begins to rise
    (5.58, 5.55, 5.5),  # and its noise
    (6.07, 6.08, None),  # a table of embeddings, and small steps
    (7.5, None, None),
    (9.0, 30.0, 9.0),  # it began badly, and is on the way down
    (5.2, 5.5, 3.0),  # a mean of weights lags behind
    (5.5, None, 3.0),
    (None, 5.5, 3.0),
])
def test_who_learns_or_may_learn_passes(loss: float | None, first: float | None, claimed: float | None) -> None:
    assert cause(loss, first, claimed) is None


@pytest.mark.parametrize(("loss", "first", "claimed", "expected"), [
    (5.9, 5.5, None, Cause.DIVERGED),
    (30.0, 31.0, None, Cause.DIVERGED),
    (UNIFORM + 0.6, UNIFORM + 0.59, None, Cause.DIVERGED),
    (UNIFORM + 2.1, None, None, Cause.DIVERGED),
    (5.5, 5.5, 3.0, Cause.NO_CHANGE),
    (5.51, 5.5, 3.0, Cause.WRONG_CHECKPOINT),
])
def test_who_does_not_learn_is_stopped(
    loss: float, first: float | None, claimed: float | None, expected: Cause
) -> None:
    assert cause(loss, first, claimed) == expected


def test_twice_the_allowed_device_time_is_too_slow_and_less_is_not() -> None:
    baseline = Baseline(steady_device_seconds_per_token=1e-4)
    limit = rungs.SLOW_RATIO * 1e-4 * 30_000 + rungs.SLOW_GRACE_SECONDS
    assert of_speed({"steady_device_seconds": limit, "steady_tokens": 30_000}, baseline) is None
    slow = of_speed({"steady_device_seconds": limit + 0.1, "steady_tokens": 30_000}, baseline)
    assert slow is not None
    assert slow[0] == Cause.DEVICE_TIME
    assert of_speed({"steady_device_seconds": 1e9, "steady_tokens": 30_000}, Baseline()) is None
    assert of_speed({"steady_device_seconds": None, "steady_tokens": None}, baseline) is None


def test_batches_that_are_small_may_be_the_foot_of_a_ramp() -> None:
    baseline = Baseline(steady_device_seconds_per_token=1e-4, steady_tokens_per_batch=768)
    slow = {"steady_device_seconds": 12.0, "steady_tokens": 30_000}  # four times the baseline's
    assert of_speed({**slow, "steady_tokens_per_batch": 192}, baseline) is None
    assert of_speed({**slow, "steady_tokens_per_batch": 768}, baseline) is not None
    assert of_speed({**slow, "steady_device_seconds": 16.0, "steady_tokens_per_batch": 192}, baseline) is not None


def verdicts(outcome: Outcome) -> list[tuple[str, bool]]:
    return [(one.name, one.passed) for one in climbed(outcome)]


def ended(cause: Cause | None = None, *, judged: bool = True, **numbers: Any) -> Outcome:
    phases = PHASES if judged else {name: spent for name, spent in PHASES.items() if name != "judge"}
    return Outcome(cause=cause, detail="why", numbers={**NUMBERS, **numbers}, phases=dict(phases))


def test_a_check_that_passed_has_four_verdicts_and_their_seconds_are_all_of_it() -> None:
    outcome = ended()
    assert verdicts(outcome) == [(SHAPES, True), (FEW, True), (SHORT, True), (CHECKPOINT, True)]
    assert sum(one.seconds for one in climbed(outcome)) == pytest.approx(outcome.seconds)
    assert climbed(outcome)[2].detail == "48 batches, loss 5.50 to 3.00"


@pytest.mark.parametrize(("outcome", "rung"), [
    (ended(Cause.CRASHED, judged=False, rehearsal={**TRIED, "passed": False}), SHAPES),
    (ended(Cause.CRASHED, judged=False, few_seconds=None), FEW),
    (ended(Cause.OUT_OF_MEMORY, judged=False), SHORT),
    (ended(Cause.DEVICE_TIME, judged=False), SHORT),
    (ended(Cause.DIVERGED), SHORT),
    (ended(Cause.NO_CHANGE), SHORT),
    (ended(Cause.LOAD_FAILED), CHECKPOINT),
    (ended(Cause.WRONG_CHECKPOINT), CHECKPOINT),
])
def test_a_check_ends_at_the_rung_that_found_the_fault(outcome: Outcome, rung: str) -> None:
    *before, last = climbed(outcome)
    assert (last.name, last.passed) == (rung, False)
    assert all(one.passed for one in before)
    assert last.detail.endswith("why") or rung == SHAPES


def test_a_trainer_that_owns_its_loop_has_two_rungs() -> None:
    outcome = ended(rehearsal=None, batches=None, few_seconds=None, first_loss=None)
    assert verdicts(outcome) == [(FEW, True), (CHECKPOINT, True)]
