"""What the sandbox station keeps, tells and recovers."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from evolution.errors import Infrastructure
from evolution.models import Experiment, Status
from sandbox import attempts, orders, readiness, station
from sandbox.devices import devices
from sandbox.models import Attempt, Purpose, Trial
from sandbox.readiness import DriverState
from tests import cast

pytestmark = pytest.mark.django_db

DOCKER = DriverState("docker", usable=True, reason="", warning="")
NO_DOCKER = DriverState("docker", usable=False, reason="no Docker engine answers", warning="")
BUBBLEWRAP = DriverState("bubblewrap", usable=True, reason="", warning="no GPUs")


@pytest.mark.parametrize(("states", "chosen", "why"), [
    ([DOCKER, BUBBLEWRAP], "docker", "docker is preferred, and it works here"),
    ([NO_DOCKER, BUBBLEWRAP], "bubblewrap", "docker cannot be used: no Docker engine answers"),
])
def test_the_machine_page_is_told_why_a_driver_was_chosen(states: list[DriverState], chosen: str, why: str) -> None:
    assert station._why(states, chosen) == why


def test_the_report_says_when_no_sandbox_works(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(settings.DARWIN_VAR) / "machine.json"
    path.unlink(missing_ok=True)
    monkeypatch.setattr(readiness, "drivers", lambda: [NO_DOCKER])
    monkeypatch.setattr(readiness, "ORDER", ())
    station.report()
    told = json.loads(path.read_text())
    assert told["driver"] == ""
    assert "no sandbox can be used here" in told["warning"]


def test_weights_stay_for_the_baseline_the_champion_and_the_survivors_only() -> None:
    experiment = cast.bred(cast.experiment("weights"))
    survivor = cast.move(cast.measured(cast.mutation(experiment, rate=2.0), 9.0), Status.SURVIVED)
    culled = cast.move(cast.measured(cast.mutation(experiment, rate=3.0), 10.0), Status.CULLED)
    for variant in (experiment.baseline, survivor, culled):
        assert variant is not None
        (experiment.folder / "weights" / str(variant.number)).mkdir(parents=True)
    station.prune()
    kept = {path.name for path in (experiment.folder / "weights").iterdir()}
    assert kept == {"0", str(survivor.number)}


def test_a_saved_state_stays_while_its_trial_may_go_on() -> None:
    experiment = cast.bred(cast.experiment("states"))
    folders = Path(settings.DARWIN_VAR) / "attempts"
    for status in (Status.APPROVED, Status.CANCELLED):
        variant = cast.move(cast.mutation(experiment, rate=float(len(status))), Status.SCREENED)
        cast.move(variant, Status.CHECKED, Status.APPROVED, *([Status.CANCELLED] if status == "cancelled" else []))
        trial = Trial.objects.create(variant=variant, purpose=Purpose.SCORE, seed=1)
        (folders / f"trial-{trial.pk}").mkdir(parents=True)
    station.prune()
    left = Trial.objects.get(variant__status=Status.APPROVED)
    assert [path.name for path in folders.glob("trial-*")] == [f"trial-{left.pk}"]


def test_an_attempt_whose_runner_died_gets_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = cast.bred(cast.experiment("orphan"))
    variant = cast.move(cast.mutation(experiment), Status.SCREENED)
    attempt = attempts.open_attempt(variant, Purpose.CHECK, devices()[0])
    assert attempt is not None
    attempts.claim(attempt.pk)
    spawned: list[int] = []
    monkeypatch.setattr(station, "spawn", lambda one: spawned.append(one.pk))
    station.recover()
    assert spawned == []  # its lease still lasts
    Attempt.objects.update(lease_expires=timezone.now() - timedelta(seconds=1))
    station.recover()
    assert spawned == [attempt.pk]


def test_the_text_of_an_experiment_is_checked_before_a_trial() -> None:
    experiment = Experiment.objects.get(pk=cast.experiment("text").pk)
    text = experiment.folder / "data" / "text"
    text.write_bytes(text.read_bytes() + b"!")
    with pytest.raises(Infrastructure, match="not the one it was created with"):
        orders.text_of(experiment, cast.genome(experiment.folder / "genome"))


class OneBox:
    """A container that runs, and the driver that has it."""

    def __init__(self, **labels: str) -> None:
        self.name, self.labels, self.done = "one", labels, list[str]()

    def boxes(self) -> list["OneBox"]:
        return [self]

    def poll(self) -> None:
        return None

    def kill(self) -> None:
        self.done.append("killed")

    def remove(self) -> None:
        self.done.append("removed")


@pytest.mark.parametrize(("labels", "done"), [
    ({"attempt": "ACTIVE", "deadline": "1"}, ["killed"]),  # its runner still wants exit code and log
    ({"attempt": "ACTIVE", "deadline": "9999999999"}, []),
    ({"attempt": "0", "deadline": "9999999999"}, ["removed"]),
    ({"deadline": "1"}, ["killed", "removed"]),
    ({"deadline": "9999999999"}, []),
])
def test_a_sweep_kills_what_is_late_and_removes_what_nobody_collects(
    monkeypatch: pytest.MonkeyPatch, labels: dict[str, str], done: list[str]
) -> None:
    experiment = cast.bred(cast.experiment("swept"))
    variant = cast.move(cast.mutation(experiment), Status.SCREENED)
    attempt = attempts.open_attempt(variant, Purpose.CHECK, devices()[0])
    assert attempt is not None
    box = OneBox(**{name: value.replace("ACTIVE", str(attempt.pk)) for name, value in labels.items()})
    monkeypatch.setattr(station, "_drivers", lambda: [box])
    station.sweep()
    assert box.done == done
