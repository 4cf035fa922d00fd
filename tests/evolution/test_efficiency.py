"""Speed is selected on only where it was not paid for with the loss."""

import pytest

from evolution.efficiency import counting
from evolution.memory import remember
from evolution.models import Experiment, Variant
from tests import cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def bred(experiment: Experiment) -> Experiment:
    cast.bred(experiment)
    Variant.objects.filter(experiment=experiment, number=0).update(val_loss=2.0, mfu=0.3)
    return Experiment.objects.select_related("baseline").get(pk=experiment.pk)


def fast(experiment: Experiment, *, val_loss: float) -> Variant:
    variant = cast.measured(cast.mutation(experiment), 8.0)
    Variant.objects.filter(pk=variant.pk).update(val_loss=val_loss, mfu=0.9)
    return Variant.objects.select_related("experiment__baseline").get(pk=variant.pk)


def judged_on(experiment: Experiment, device: str) -> None:
    remember(experiment, "trial.ended", actor="sandbox", variant=experiment.baseline, data={
        "variant": 0, "purpose": "score", "result": {"device": device},
    })


@pytest.mark.parametrize(("val_loss", "expected"), [(1.9, 0.9), (2.01, 0.9), (4.5, None)])
def test_the_mfu_of_what_is_worse_than_the_baseline_does_not_count(
    bred: Experiment, val_loss: float, expected: float | None
) -> None:
    variant = fast(bred, val_loss=val_loss)
    assert counting([variant]) == {variant.number: expected}


@pytest.mark.parametrize(("device", "expected"), [("cuda", 0.9), ("cpu", None)])
def test_the_mfu_of_a_cpu_is_informational(bred: Experiment, device: str, expected: float | None) -> None:
    judged_on(bred, device)
    variant = fast(bred, val_loss=1.9)
    assert counting([variant]) == {variant.number: expected}


def test_a_calibrated_noise_takes_the_place_of_ours(bred: Experiment) -> None:
    Experiment.objects.update(noise={"pair_sd": {"value": 0.001}})
    assert list(counting([fast(bred, val_loss=2.01)]).values()) == [None]
