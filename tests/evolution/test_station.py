"""The station: one look does everything that is due, for one experiment at a time, and no trouble spreads."""

import fcntl
from pathlib import Path

import pytest

from evolution import breeding, station
from evolution.agents.base import AgentUnavailable
from evolution.models import Event, Experiment, ExperimentStatus, Status, Strategy
from evolution.tasks import look
from tests import cast
from tests.evolution.test_breeding import Scripted

# The journal's writer wants no transaction around it.
pytestmark = pytest.mark.django_db(transaction=True)

S = Status


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    one = Scripted()
    monkeypatch.setattr(breeding, "agent_for", lambda experiment, strategy: one)
    return one


def test_a_new_experiments_baseline_is_screened(experiment: Experiment, agent: Scripted) -> None:
    look()
    assert experiment.variants.get().status == S.SCREENED


def test_a_generation_is_bred_and_screened_in_one_look(experiment: Experiment, agent: Scripted) -> None:
    station.look()
    cast.move(experiment.variants.get(), S.CHECKED, S.APPROVED)
    station.look()
    assert list(experiment.variants.values_list("status", flat=True)) == [S.APPROVED, *[S.SCREENED] * 4]


def test_a_whole_campaign_runs_to_its_end(experiment: Experiment, agent: Scripted) -> None:
    for _ in range(10):
        station.look()
        for variant in experiment.variants.filter(status=S.SCREENED):
            cast.move(variant, S.CHECKED, S.APPROVED, S.TRAINING, S.MEASURED, perplexity=20.0 / (1 + variant.number))
    experiment.refresh_from_db()
    assert experiment.status == ExperimentStatus.FINISHED
    assert experiment.variants.count() == 9
    assert experiment.champion is not None
    assert experiment.champion.number == 8
    assert not Event.objects.filter(journaled=False).exists()


def test_a_paused_experiment_is_left_alone_but_its_journal_is_written(experiment: Experiment, agent: Scripted) -> None:
    Experiment.objects.filter(pk=experiment.pk).update(status=ExperimentStatus.PAUSED)
    station.look()
    assert experiment.variants.get().status == S.DRAFTED
    assert not Event.objects.filter(journaled=False).exists()


def test_one_experiments_trouble_does_not_stop_another(experiment: Experiment, agent: Scripted) -> None:
    healthy = cast.experiment("healthy")
    (experiment.folder / "genomes.git" / "HEAD").unlink()
    station.look()
    experiment.refresh_from_db()
    assert "genomes.git" in experiment.reason
    assert healthy.variants.get().status == S.SCREENED


def test_an_absent_agent_is_told_and_asked_again(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(experiment: Experiment, strategy: Strategy) -> Scripted:
        raise AgentUnavailable("no key: set OPENAI_API_KEY")

    cast.bred(experiment)
    monkeypatch.setattr(breeding, "agent_for", absent)
    station.look()
    experiment.refresh_from_db()
    assert (experiment.status, experiment.reason) == (ExperimentStatus.RUNNING, "no key: set OPENAI_API_KEY")
    agent = Scripted()
    monkeypatch.setattr(breeding, "agent_for", lambda experiment, strategy: agent)
    station.look()
    experiment.refresh_from_db()
    assert experiment.reason == ""
    assert experiment.variants.count() == 5


def test_an_experiment_that_somebody_else_attends_is_passed_by(experiment: Experiment, agent: Scripted) -> None:
    lock = Path(experiment.folder / "station.lock")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        station.look()
        assert experiment.variants.get().status == S.DRAFTED
    station.look()
    assert experiment.variants.get().status == S.SCREENED
