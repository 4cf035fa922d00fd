"""`manage.py calibrate` around the trainings: options, prices, the experiment it makes, what it prints."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from darwin_web.management.commands.calibrate import found_or_paused, price_of
from evolution.errors import BadInput, ResumeMismatch
from evolution.models import Experiment, ExperimentStatus, Transition
from evolution.options import Options
from sandbox import calibration
from tests import cast
from tests.sandbox.test_calibration import pairs

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DARWIN_DEVICE_HOUR_USD", raising=False)
    monkeypatch.setattr(calibration, "measure", lambda experiment, *, seeds, show: pairs())
    monkeypatch.setattr("signal.signal", lambda *_: None)  # pytest's own handlers stay


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    text = tmp_path / "text"
    text.write_bytes(cast.TEXT)
    return {"genome": str(cast.genome(tmp_path / "tiny")), "data": str(text), "budget_tokens": 20_000}


def said(capsys: pytest.CaptureFixture[str], *words: str, **options: Any) -> str:
    call_command("calibrate", *words, **options)
    return capsys.readouterr().out


def test_an_experiment_that_is_not_there_is_made_and_waits(
    options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    told = json.loads(said(capsys, "fresh", json=True, **options).splitlines()[-1])
    experiment = Experiment.objects.get(slug="fresh")
    assert (told["experiment"], told["status"]) == ("fresh", "paused")
    assert experiment.status == ExperimentStatus.PAUSED
    assert experiment.noise["losses"] == told["losses"]


def test_no_row_of_the_population_is_touched(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "fresh", **options)
    experiment = Experiment.objects.get(slug="fresh")
    assert [variant.trials.count() for variant in experiment.variants.all()] == [0]
    assert not Transition.objects.filter(variant__experiment=experiment).exclude(new="drafted").exists()


def test_an_experiment_that_is_there_is_taken_as_it_is(options: dict[str, Any]) -> None:
    made = found_or_paused(Options(name="mine", **options), actor="user:ada")
    again = found_or_paused(Options(name="mine"), actor="user:ada")
    assert (again.pk, again.status) == (made.pk, "paused")


def test_other_options_are_refused(options: dict[str, Any]) -> None:
    found_or_paused(Options(name="mine", **options), actor="user:ada")
    with pytest.raises(ResumeMismatch, match="budget_tokens = 20000, not 30000"):
        found_or_paused(Options(name="mine", budget_tokens=30_000), actor="user:ada")


def test_people_read_the_noise_the_effect_and_the_hours(
    options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "fresh", price=2.5, **options)
    assert "With one seed a change below 1.3 % of perplexity cannot be seen." in text
    assert "Up to 8 pairs prove a gain of 0.01 nats" in text
    assert "device hours" in text
    assert "$" in text
    assert "manage.py evolve fresh" in text


def test_without_a_price_it_says_how_to_give_one(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "fresh", **options)
    assert "--price" in text
    assert "$" not in text


def test_the_price_comes_from_the_option_or_else_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert price_of(None) is None
    monkeypatch.setenv("DARWIN_DEVICE_HOUR_USD", "1.25")
    assert price_of(None) == 1.25
    assert price_of(3.0) == 3.0


@pytest.mark.parametrize("bad", ["cheap", "-1", "nan", "inf"])
def test_what_is_no_price_is_refused(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARWIN_DEVICE_HOUR_USD", bad)
    with pytest.raises(BadInput, match="is no price"):
        price_of(None)


def test_one_seed_is_refused_before_anything_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="2 or more"):
        call_command("calibrate", "fresh", seeds=1, **options)
    assert not Experiment.objects.filter(slug="fresh").exists()
