"""A check in a real sandbox stops what is broken at the right rung, and nothing that is honest."""

from collections.abc import Callable

import pytest

from sandbox.outcome import Outcome
from sandbox.rungs import CHECKPOINT, FEW, SHAPES, SHORT, climbed
from trainer.contract import Cause

Ended = Callable[[str, str], Outcome]

STOPPED = {
    "a projection of another width": (SHAPES, Cause.CRASHED),
    "a layer torch does not have": (SHAPES, Cause.CRASHED),
    "makes positions on a GPU": (FEW, Cause.CRASHED),
    "climbs instead of descending": (SHORT, Cause.DIVERGED),
    "the optimiser never steps": (SHORT, Cause.NO_CHANGE),
    "saves a fresh model": (SHORT, Cause.NO_CHANGE),
    "loads other names than it saved": (CHECKPOINT, Cause.LOAD_FAILED),
}
HONEST = ("built_in", "averaged_weights", "accumulated_gradients", "saves_on_its_way", "batch_norm", "two_models")


@pytest.mark.parametrize("patch", STOPPED)
def test_a_broken_patch_is_stopped_at_its_rung(patch: str, ended: Ended) -> None:
    outcome = ended("patch", patch)
    rung, cause = STOPPED[patch]
    assert outcome.cause == cause, f"{outcome.sentence()}\n{outcome.log_tail}"
    *before, last = climbed(outcome)
    assert (last.name, last.passed) == (rung, False)
    assert all(one.passed for one in before)


def test_a_shape_that_does_not_fit_costs_no_text_and_is_told_with_its_traceback(ended: Ended) -> None:
    outcome = ended("patch", "a projection of another width")
    assert outcome.numbers["train_tokens"] == 0
    assert 'model.py", line' in outcome.traceback


@pytest.mark.parametrize("fine", HONEST)
def test_an_honest_genome_passes_every_rung(fine: str, ended: Ended) -> None:
    outcome = ended("fine", fine)
    assert outcome.cause is None, f"{outcome.sentence()}\n{outcome.log_tail}"
    assert [one.name for one in climbed(outcome)] == [SHAPES, FEW, SHORT, CHECKPOINT]
    assert outcome.numbers["val_loss"] < outcome.numbers["first_loss"]
