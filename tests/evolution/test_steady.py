"""The steady pace: a free place is filled at once, nobody waits for the slowest, generations are windows of births."""

import pytest

from evolution import breeding, generations, strategies
from evolution.breeding import breed
from evolution.generations import close_generation
from evolution.lifecycle import ENDED
from evolution.models import Experiment, ExperimentStatus, Kind, Pace, Status, Variant
from tests import cast
from tests.evolution.test_breeding import Scripted

pytestmark = pytest.mark.django_db

S = Status
PLACES = 3


@pytest.fixture
def steady(db: None, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """Three places, two survivors, three windows; the baseline is measured at 12."""
    agent = Scripted()
    monkeypatch.setattr(breeding, "agent_for", lambda experiment, strategy: agent)
    experiment = cast.experiment("steady", population=PLACES, survivors=2, generations=3, pace=Pace.STEADY.value)
    cast.measured(experiment.variants.get(), 12.0)
    return tick(experiment)


def tick(experiment: Experiment) -> Experiment:
    """Every step that is due, as the station takes them."""
    while True:
        experiment = Experiment.objects.get(pk=experiment.pk)
        before = experiment.variants.count()
        filled = breed(experiment, at_most=1)
        if experiment.variants.count() == before and not close_generation(experiment, filled=filled):
            return experiment
        if Experiment.objects.get(pk=experiment.pk).status != ExperimentStatus.RUNNING:
            return Experiment.objects.get(pk=experiment.pk)


def under_way(experiment: Experiment) -> list[Variant]:
    return list(experiment.variants.filter(number__gt=0).exclude(status__in=ENDED).order_by("number"))


def survivors(experiment: Experiment) -> list[int]:
    found = experiment.variants.filter(status=S.SURVIVED).order_by("perplexity")
    return [variant.number for variant in found]


def open_windows(experiment: Experiment) -> list[int]:
    return list(experiment.generation_rows.filter(ended_at=None).values_list("number", flat=True))


def test_as_many_are_under_way_as_there_are_places(steady: Experiment) -> None:
    assert len(under_way(steady)) == PLACES
    assert survivors(steady) == [0]


def test_a_free_place_is_filled_at_once_from_the_survivors_of_this_moment(steady: Experiment) -> None:
    first = under_way(steady)[0]
    cast.measured(first, 5.0)
    steady = tick(steady)
    assert survivors(steady) == [first.number, 0]
    assert len(under_way(steady)) == PLACES
    newest = under_way(steady)[-1]
    assert newest.generation.number == 2
    assert newest.parent is not None
    assert newest.parent.number in (0, first.number)


@pytest.mark.parametrize("road", [
    (*cast.TO_TRAINING, S.FAILED), (*cast.TO_REVIEW, S.VETOED), (S.SCREENED, S.CANCELLED), (S.DUPLICATE,),
])
def test_whatever_ended_leaves_its_place(steady: Experiment, road: tuple[Status, ...]) -> None:
    cast.move(under_way(steady)[0], *road)
    steady = tick(steady)
    assert len(under_way(steady)) == PLACES
    assert steady.variants.count() == 1 + PLACES + 1


def test_the_worst_of_old_and_new_is_culled_after_each_measurement(steady: Experiment) -> None:
    for perplexity, expected in ((11.0, [1, 0]), (10.0, [2, 1]), (11.5, [2, 1]), (9.0, [4, 2])):
        cast.measured(under_way(steady)[0], perplexity)
        steady = tick(steady)
        assert survivors(steady) == expected
    assert Variant.objects.get(experiment=steady, number=3).reason == "rank 3 of 3: the best 2 stay"
    assert steady.champion is not None
    assert steady.champion.number == 4


def test_nobody_waits_for_the_slowest_but_the_end_does(steady: Experiment) -> None:
    slowest = under_way(steady)[0]
    for _ in range(40):
        steady = tick(steady)
        others = [one for one in under_way(steady) if one != slowest]
        assert len(under_way(steady)) <= PLACES
        if not others:
            break
        cast.measured(others[0], 10.0 - 0.1 * others[0].number)
    assert steady.status == ExperimentStatus.RUNNING
    assert steady.variants.count() == 1 + 3 * PLACES
    assert open_windows(steady) == [1]
    cast.measured(slowest, 3.0)
    steady = tick(steady)
    assert (steady.status, steady.reason) == (ExperimentStatus.FINISHED, "3 generations bred and judged")
    assert open_windows(steady) == []
    assert steady.champion == slowest


def test_a_window_has_as_many_births_as_there_are_places_and_ends_with_its_survivors(steady: Experiment) -> None:
    for _ in range(3 * PLACES):
        cast.measured(under_way(steady)[0], 10.0 - 0.1 * under_way(steady)[0].number)
        steady = tick(steady)
    births = steady.variants.filter(number__gt=0).values_list("generation__number", flat=True)
    assert sorted(births) == [1] * PLACES + [2] * PLACES + [3] * PLACES
    ended = [one.data for one in steady.events.filter(kind="generation.ended").order_by("id")]
    assert [one["generation"] for one in ended] == [0, 1, 2, 3]
    assert sorted(ended[3]["survivors"]) == [8, 9]
    assert ended[3]["culled"] == [7]
    assert set(ended[3]["reasons"]) == {"7", "8", "9"}


def test_asked_again_nothing_happens(steady: Experiment) -> None:
    before = (steady.variants.count(), steady.events.count())
    for _ in range(3):
        steady = tick(steady)
    assert (steady.variants.count(), steady.events.count()) == before


def test_a_kill_between_choosing_and_crowning_leaves_everything_to_the_next_look(
    steady: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    cast.measured(under_way(steady)[0], 5.0)
    with monkeypatch.context() as patched:
        patched.setattr(generations, "_crown", killed)
        with pytest.raises(KeyboardInterrupt):
            tick(steady)
    assert survivors(steady) == [0]
    assert survivors(tick(steady)) == [1, 0]


def test_a_raised_total_goes_on_after_the_last_window(steady: Experiment) -> None:
    while steady.status == ExperimentStatus.RUNNING:
        cast.measured(under_way(steady)[0], 10.0)
        steady = tick(steady)
    Experiment.objects.filter(pk=steady.pk).update(generations=4, status=ExperimentStatus.RUNNING)
    steady = tick(steady)
    assert [one.generation.number for one in under_way(steady)] == [4] * PLACES


def test_no_more_than_three_drafts_are_made_for_a_place(steady: Experiment) -> None:
    while steady.status == ExperimentStatus.RUNNING:
        for one in under_way(steady):
            cast.move(one, S.STILLBORN)
        steady = tick(steady)
    assert steady.variants.count() == 1 + 3 * 3 * PLACES


def test_what_failed_in_an_older_window_is_mended_there_before_it_ends(
    steady: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, slowest = under_way(steady)
    cast.measured(first, 9.0)
    cast.measured(second, 8.0)
    steady = tick(steady)
    monkeypatch.setattr(strategies, "mender", lambda experiment: strategies.of(experiment)[0])
    cast.move(slowest, *cast.TO_TRAINING, S.FAILED, reason="crashed")
    steady = tick(steady)
    mended = steady.variants.get(kind=Kind.REPAIR)
    assert (mended.parent, mended.generation.number) == (slowest, 1)
    assert open_windows(steady) == [1, 2]
    cast.measured(mended, 7.0)
    assert 1 not in open_windows(tick(steady))
