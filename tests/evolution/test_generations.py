"""The end of a generation: survivors, reasons, the champion, and what comes next."""

import pytest
from django.utils import timezone

from evolution.generations import close_generation
from evolution.models import Experiment, ExperimentStatus, Kind, Status, Variant
from tests import cast

pytestmark = pytest.mark.django_db

S = Status


def close(experiment: Experiment, *, filled: bool = True) -> Experiment:
    """Take every step that is due, as the station does."""
    fresh = Experiment.objects.get(pk=experiment.pk)
    while fresh.status == ExperimentStatus.RUNNING and close_generation(fresh, filled=filled):
        fresh = Experiment.objects.get(pk=experiment.pk)
    return fresh


def generation(experiment: Experiment, *perplexities: float) -> list[Variant]:
    """Measured variants of the generation under way."""
    return [cast.measured(cast.mutation(experiment, rate=one), one) for one in perplexities]


def status_of(*variants: Variant) -> list[str]:
    return [Variant.objects.get(pk=one.pk).status for one in variants]


def test_the_measured_baseline_survives_and_leads(experiment: Experiment) -> None:
    baseline = cast.measured(experiment.variants.get(), 12.0)
    after = close(experiment, filled=False)
    assert status_of(baseline) == [S.SURVIVED]
    assert after.champion == baseline
    assert after.generation == 1
    assert after.generation_rows.get(number=0).ended_at is not None


@pytest.mark.parametrize(
    ("road", "reason"),
    [
        ((*cast.TO_TRAINING, S.FAILED), "its loss is not a number"),
        ((*cast.TO_TRAINING, S.REJECTED), "refused"),
        ((S.STILLBORN,), "train.py:1: invalid syntax"),
    ],
)
def test_without_a_baseline_the_experiment_fails_with_its_reason(
    experiment: Experiment, road: tuple[Status, ...], reason: str
) -> None:
    cast.move(experiment.variants.get(), *road, reason=reason)
    after = close(experiment)
    assert after.status == ExperimentStatus.FAILED
    assert reason in after.reason
    assert after.ended_at is not None


def test_a_failed_baseline_calls_off_what_was_bred_meanwhile(experiment: Experiment) -> None:
    waiting = cast.move(cast.mutation(experiment), *cast.TO_REVIEW)
    cast.move(experiment.variants.get(number=0), *cast.TO_TRAINING, S.FAILED, reason="crashed")
    close(experiment)
    assert status_of(waiting) == [S.CANCELLED]


def test_a_generation_waits_for_its_last_variant(experiment: Experiment) -> None:
    cast.bred(experiment)
    generation(experiment, 9.0)
    waiting = cast.move(cast.mutation(experiment, rate=3), *cast.TO_REVIEW)
    assert close(experiment).generation == 1
    cast.move(waiting, S.VETOED)
    assert close(experiment).generation == 2


def test_a_generation_waits_until_it_is_full(experiment: Experiment) -> None:
    cast.bred(experiment)
    generation(experiment, 9.0)
    assert close(experiment, filled=False).generation == 1


def test_it_waits_for_the_baseline_too(experiment: Experiment) -> None:
    cast.move(experiment.variants.get(), *cast.TO_TRAINING)
    experiment.generation_rows.create(number=1)
    Experiment.objects.filter(pk=experiment.pk).update(generation=1)
    fast = cast.measured(cast.mutation(experiment), 9.0)
    close(experiment)
    assert status_of(fast) == [S.MEASURED]
    cast.move(experiment.variants.get(number=0), S.MEASURED, perplexity=12.0)
    close(experiment)
    assert status_of(fast) == [S.SURVIVED]


def test_the_best_survive_the_others_are_culled_each_with_a_reason(experiment: Experiment) -> None:
    cast.bred(experiment)
    best, *rest = generation(experiment, 8.0, 9.0, 10.0)
    close(experiment)
    everyone = [experiment.variants.get(number=0), best, *rest]
    assert status_of(best) == [S.SURVIVED]
    assert sorted(status_of(*everyone)) == [S.CULLED, S.CULLED, S.SURVIVED, S.SURVIVED]
    assert all(Variant.objects.get(pk=one.pk).reason for one in everyone)
    ended = experiment.events.get(kind="generation.ended", data__generation=1).data
    assert sorted(ended["survivors"] + ended["culled"]) == [0, 1, 2, 3]
    assert ended["reasons"]["1"] == "the best measured: always kept"


def test_the_champion_changes_only_for_a_lower_perplexity(experiment: Experiment) -> None:
    cast.bred(experiment)
    first, _ = generation(experiment, 8.0, 9.0)
    assert close(experiment).champion == first
    experiment.refresh_from_db()
    generation(experiment, 8.5)
    assert close(experiment).champion == first
    changes = experiment.events.filter(kind="champion.changed").order_by("id")
    assert [one.data["variant"] for one in changes] == [0, 1]
    assert "unreplicated" in changes[1].data["reason"]


def test_the_last_generation_ends_the_experiment(experiment: Experiment) -> None:
    cast.bred(experiment)
    generation(experiment, 8.0)
    close(experiment)
    experiment.refresh_from_db()
    generation(experiment, 7.0)
    after = close(experiment)
    assert (after.status, after.reason) == (ExperimentStatus.FINISHED, "2 generations bred and judged")
    assert after.generation_rows.filter(ended_at=None).count() == 0


def test_a_latecomer_is_waited_for_and_competes(experiment: Experiment) -> None:
    """People may propose until an experiment is over: here while the last generation's contest is decided."""
    cast.bred(experiment)
    Experiment.objects.update(generations=1)
    generation(experiment, 8.0)
    patch = cast.mutation(experiment, rate=77)
    Variant.objects.filter(pk=patch.pk).update(kind=Kind.PATCH)
    experiment.generation_rows.filter(number=1).update(ended_at=timezone.now())
    assert close(experiment).status == ExperimentStatus.RUNNING
    cast.measured(Variant.objects.get(pk=patch.pk), 5.0)
    assert close(experiment).status == ExperimentStatus.FINISHED
    assert status_of(patch) == [S.SURVIVED]


def test_a_generation_that_nobody_survived_of_leaves_the_earlier_survivors(experiment: Experiment) -> None:
    cast.bred(experiment)
    cast.move(cast.mutation(experiment), *cast.TO_TRAINING, S.FAILED, reason="crashed")
    after = close(experiment)
    assert status_of(experiment.variants.get(number=0)) == [S.SURVIVED]
    assert after.generation == 2


def test_selection_is_the_same_for_the_same_seed(experiment: Experiment) -> None:
    outcomes = []
    for name in ("one", "two"):
        twin = cast.bred(cast.experiment(name, selection="roulette"))
        pool = generation(twin, 8.0, 9.0, 10.0, 11.0)
        close(twin)
        outcomes.append(status_of(*pool))
    assert outcomes[0] == outcomes[1]
