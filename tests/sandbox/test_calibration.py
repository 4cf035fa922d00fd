"""What A/A runs tell, and when they are refused."""

import json
import math

import pytest

from evolution import experiments
from evolution.errors import BadInput, DarwinError, Infrastructure
from evolution.models import Event, Experiment, Status
from sandbox import attempts, calibration
from sandbox.calibration import Pair, Run, noise_of, record, refuse_if_busy
from sandbox.devices import devices
from sandbox.models import Purpose
from sandbox.outcome import Outcome
from tests import cast
from trainer.contract import Cause

pytestmark = pytest.mark.django_db

LOSSES = [(1.900, 1.904), (1.920, 1.915), (1.890, 1.893), (1.930, 1.928)]


def pairs(seconds: float = 36.0) -> list[Pair]:
    return [
        Pair(*(Run(seed=2 * n + half, val_loss=loss, seconds=seconds, device_seconds=60.0, tokens=5000)
               for half, loss in enumerate(both)))
        for n, both in enumerate(LOSSES)
    ]


@pytest.fixture
def paused() -> Experiment:
    experiment = cast.experiment("calibrated")
    experiments.pause(experiment, actor="user:ada")
    return experiment


def test_the_noise_is_that_of_seeds_and_of_pairs(paused: Experiment) -> None:
    noise = noise_of(paused, pairs(), price=None)
    assert noise["loss"]["value"] == pytest.approx(1.91)
    assert noise["seed_sd"]["value"] == pytest.approx(0.018257, abs=1e-5)
    assert noise["pair_sd"]["value"] == pytest.approx(math.sqrt(18e-6))  # of −4, 5, −3, 2 thousandths
    assert noise["pair_sd"]["low"] < noise["pair_sd"]["value"] < noise["pair_sd"]["high"]


def test_one_seed_sees_no_less_than_students_t_allows(paused: Experiment) -> None:
    noise = noise_of(paused, pairs(), price=None)
    assert noise["one_seed"]["nats"] == pytest.approx(3.18245 * math.sqrt(18e-6), rel=1e-4)
    assert noise["one_seed"]["percent"] == pytest.approx(100 * (1 - math.exp(-noise["one_seed"]["nats"])))


def test_eight_pairs_see_less_than_one_seed_can(paused: Experiment) -> None:
    noise = noise_of(paused, pairs(), price=None)
    assert 0 < noise["visible"]["nats"] < noise["one_seed"]["nats"]
    assert noise["visible"]["low"] < noise["visible"]["nats"] < noise["visible"]["high"]


def test_too_few_pairs_see_nothing(paused: Experiment) -> None:
    paused.confirm_pairs = 2
    visible = noise_of(paused, pairs(), price=None)["visible"]
    assert (visible["nats"], visible["percent"], visible["pairs"]) == (None, None, 2)


def test_a_campaign_costs_its_screening_and_its_contests(paused: Experiment) -> None:
    paused.population, paused.generations, paused.confirm_pairs = 10, 5, 8
    campaign = noise_of(paused, pairs(), price=2.0)["campaign"]
    assert campaign["trials_most"] == 1 + 50 + 5 * 3 * 8
    assert 51 < campaign["trials"] < campaign["trials_most"]
    assert campaign["device_hours_most"] == pytest.approx(campaign["trials_most"] * 36 / 3600)
    assert campaign["hours"] == pytest.approx(campaign["device_hours"] / len(devices()))
    assert campaign["cost_usd"] == pytest.approx(2 * campaign["device_hours"])


def test_without_contests_only_the_screening_is_paid(paused: Experiment) -> None:
    paused.population, paused.generations, paused.confirm_pairs = 10, 5, 0
    campaign = noise_of(paused, pairs(), price=None)["campaign"]
    assert campaign["trials"] == campaign["trials_most"] == 51
    assert campaign["cost_usd"] is None


def test_it_is_kept_with_the_experiment_and_in_the_journal(paused: Experiment) -> None:
    noise = noise_of(paused, pairs(), price=None)
    record(paused, noise, actor="user:ada")
    assert Experiment.objects.get(pk=paused.pk).noise == json.loads(json.dumps(noise))
    event = Event.objects.get(experiment=paused, kind="noise.calibrated")
    assert event.actor == "user:ada"
    assert event.data["losses"] == [list(both) for both in LOSSES]


def test_an_experiment_that_runs_is_refused() -> None:
    with pytest.raises(BadInput, match="pause it first"):
        refuse_if_busy(cast.experiment("running"))


def test_a_device_that_trains_is_refused(paused: Experiment) -> None:
    other = cast.move(cast.mutation(cast.bred(cast.experiment("other"))), Status.SCREENED)
    assert attempts.open_attempt(other, Purpose.CHECK, devices()[0])
    with pytest.raises(Infrastructure, match="training for “other”: wait"):
        refuse_if_busy(paused)


def test_a_free_device_is_not_refused(paused: Experiment) -> None:
    refuse_if_busy(paused)


def test_one_seed_has_no_deviation(paused: Experiment) -> None:
    with pytest.raises(BadInput, match="2 or more"):
        calibration.measure(paused, seeds=1, show=lambda *_: None)


def test_seeds_are_the_same_again_and_all_different(paused: Experiment) -> None:
    first, again = (calibration._seeds(paused, 12) for _ in range(2))
    assert first == again
    assert len(set(first)) == 12


@pytest.mark.parametrize(("cause", "error"), [
    (Cause.INFRASTRUCTURE, Infrastructure), (Cause.NO_CHECKPOINT, DarwinError),
])
def test_whose_fault_a_missing_number_is(cause: Cause, error: type[DarwinError]) -> None:
    with pytest.raises(DarwinError) as caught:
        calibration._must_be_measured(Outcome(cause=cause), seed=3)
    assert type(caught.value) is error
