"""Alarms of a search: when they are written down, and what is done while they ring."""

import json
import math

import pytest
from django.utils import timezone

from evolution import breeding, health, rounds
from evolution.breeding import breed
from evolution.drafting import draft
from evolution.generations import close_generation
from evolution.genetics import alarms
from evolution.genomes import store_of
from evolution.memory import remember
from evolution.models import Experiment, Kind, Status, Variant
from tests import cast
from tests.evolution.test_breeding import Scripted

pytestmark = pytest.mark.django_db

S = Status


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    one = Scripted()
    monkeypatch.setattr(breeding, "agent_for", lambda experiment, strategy: one)
    return one


@pytest.fixture
def long(db: None) -> Experiment:
    """Ten generations with three survivors of four places, the baseline measured at 12."""
    return cast.bred(cast.experiment("long", generations=10, survivors=3))


def ended(experiment: Experiment, *perplexities: float, parent: Variant | None = None) -> list[Variant]:
    """The generation under way, of one measured variant for each number, brought to its end by the product."""
    made = [cast.measured(child(experiment, parent or baseline(experiment), one), one) for one in perplexities]
    assert close_generation(Experiment.objects.get(pk=experiment.pk), filled=True)
    experiment.refresh_from_db()
    return made


def child(experiment: Experiment, parent: Variant, number: float, *, lines: int = 1) -> Variant:
    """A mutation that adds lines which nobody else has."""
    files = dict(store_of(experiment).files(parent.commit))
    files["train.py"] += b"".join(b"x_%d = %r\n" % (line, number) for line in range(lines))
    return draft(experiment, parent=parent, files=files, kind=Kind.MUTATION, author="agent:test", title="t")


def baseline(experiment: Experiment) -> Variant:
    return experiment.variants.get(number=0)


def started(experiment: Experiment) -> Experiment:
    """Generation 0 has ended, as the product ends it."""
    assert close_generation(Experiment.objects.get(pk=experiment.pk), filled=False)
    return experiment


def lines_of(experiment: Experiment, alarm: str) -> list[bool]:
    return [one.data["is_on"] for one in experiment.events.filter(kind=health.CHANGED, data__alarm=alarm)]


def ring(experiment: Experiment, alarm: str) -> None:
    remember(experiment, health.CHANGED, actor="test", data={"alarm": alarm, "is_on": True})


def test_three_generations_without_a_gain_ring_once_and_a_gain_ends_it(long: Experiment) -> None:
    started(long)
    ended(long, 10.0)
    for perplexity in (11.0, 11.5, 11.6, 11.7):
        ended(long, perplexity)
    assert lines_of(long, health.STAGNATION) == [True]
    event = long.events.get(kind=health.CHANGED, data__alarm=health.STAGNATION)
    assert (event.data["generation"], event.data["gain"], event.data["noise"]) == (4, 0.0, alarms.NOISE)
    assert "the baseline may be changed too" in event.data["does"]
    ended(long, 8.0)
    assert lines_of(long, health.STAGNATION) == [True, False]


def test_a_gain_below_the_calibrated_noise_is_none(long: Experiment) -> None:
    Experiment.objects.filter(pk=long.pk).update(noise={"pair_sd": {"value": 0.5}})
    long.refresh_from_db()
    started(long)
    for perplexity in (10.0, 9.5, 9.0, 8.5):
        ended(long, perplexity)
    assert math.log(12.0 / 9.0) < 0.5
    assert lines_of(long, health.STAGNATION) == [True]


def test_a_search_that_gets_on_rings_nothing(long: Experiment) -> None:
    started(long)
    for perplexity in (10.0, 9.5, 9.0, 8.5, 8.0):
        ended(long, perplexity)
    assert not long.events.filter(kind=health.CHANGED).exists()


def test_survivors_that_are_copies_of_one_ring(long: Experiment) -> None:
    started(long)
    big = cast.measured(child(long, baseline(long), 8.0, lines=40), 8.0)
    close_generation(Experiment.objects.get(pk=long.pk), filled=True)
    long.refresh_from_db()
    ended(long, 7.0, 6.9, 6.8, parent=big)
    found = health.of(long)
    assert found.distance is not None
    assert found.distance < alarms.ALIKE
    assert found.lineages == pytest.approx(1)
    assert lines_of(long, health.COLLAPSE) == [True]
    (event,) = long.events.filter(kind=health.CHANGED)
    assert event.data["ancestor"] == big.number
    assert json.dumps(event.data)


def test_while_it_stagnates_one_place_starts_again_and_all_the_others_may(long: Experiment, agent: Scripted) -> None:
    lost = cast.move(cast.measured(cast.mutation(long, rate=3), 11.0), S.CULLED)
    kept = cast.move(cast.measured(cast.mutation(long, rate=2), 9.0), S.SURVIVED)
    cast.move(baseline(long), S.CULLED)
    breeding.open_generation(long, 2)
    ring(long, health.STAGNATION)
    one = rounds.begin(long, long.generation_rows.get(number=2))
    assert one.archive == [lost, baseline(long)]
    assert next(one.in_turn(one.rng)) == lost
    breed(long, at_most=1)
    assert long.variants.filter(generation__number=2).get().parent == lost
    later = rounds.begin(long, long.generation_rows.get(number=2))
    assert {variant.number for variant in later.in_turn(later.rng)} == {0, lost.number, kept.number}
    assert len(list(later.in_turn(later.rng))) == 3


def test_without_an_alarm_only_survivors_are_changed(long: Experiment) -> None:
    cast.move(cast.measured(cast.mutation(long, rate=3), 11.0), S.CULLED)
    kept = cast.move(cast.measured(cast.mutation(long, rate=2), 9.0), S.SURVIVED)
    cast.move(baseline(long), S.CULLED)
    breeding.open_generation(long, 2)
    one = rounds.begin(long, long.generation_rows.get(number=2))
    assert list(one.in_turn(one.rng)) == [kept]


def test_a_collapsed_population_keeps_a_place_for_who_is_unlike_the_rest(long: Experiment) -> None:
    started(long)
    other = cast.measured(child(long, baseline(long), 11.0, lines=30), 11.0)
    cast.move(other, S.CULLED)
    big = cast.measured(child(long, baseline(long), 8.0, lines=40), 8.0)
    close_generation(Experiment.objects.get(pk=long.pk), filled=True)
    ring(long, health.COLLAPSE)
    long.refresh_from_db()
    ended(long, 7.0, 6.9, 6.8, parent=big)
    assert Variant.objects.get(pk=other.pk).status == S.SURVIVED
    assert Variant.objects.get(pk=other.pk).reason == "unlike the other survivors: kept for diversity"
    assert long.variants.filter(status=S.SURVIVED).count() == 3
    assert long.variants.filter(status=S.SURVIVED, perplexity=6.8).exists()


def test_who_is_no_better_than_the_baseline_is_not_kept_for_being_different(long: Experiment) -> None:
    started(long)
    other = cast.move(cast.measured(child(long, baseline(long), 13.0, lines=30), 13.0), S.CULLED)
    big = cast.measured(child(long, baseline(long), 8.0, lines=40), 8.0)
    close_generation(Experiment.objects.get(pk=long.pk), filled=True)
    ring(long, health.COLLAPSE)
    long.refresh_from_db()
    ended(long, 7.0, 6.9, 6.8, parent=big)
    assert Variant.objects.get(pk=other.pk).status == S.CULLED


def test_before_anything_was_measured_there_is_nothing_to_say(experiment: Experiment) -> None:
    found = health.of(experiment)
    assert (found.survivors, found.distance, found.spread, found.lineages) == (0, None, None, 0)
    assert not found.stagnation.is_on
    assert not found.collapse.is_on


def test_elites_of_an_experiment_always_survive(db: None) -> None:
    for elites in (0, 3):
        one = cast.bred(cast.experiment(f"elites{elites}", selection="roulette", survivors=3, elites=elites))
        one.generation_rows.update(ended_at=timezone.now())
        one.generation_rows.filter(number=1).update(ended_at=None)
        made = [cast.measured(cast.mutation(one, rate=rate), rate) for rate in (7.0, 8.0, 9.0, 10.0)]
        close_generation(Experiment.objects.get(pk=one.pk), filled=True)
        reasons = [Variant.objects.get(pk=variant.pk).reason for variant in made[:3]]
        assert all(("always kept" in reason) is (elites == 3) for reason in reasons)
