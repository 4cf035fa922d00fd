"""The shapes the charts rely on."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from evolution import health
from evolution.memory import remember
from evolution.models import Experiment, Pace, Status, Variant
from sandbox.models import Attempt, AttemptState, Point, Purpose, Trial, Verdict
from tests import cast

pytestmark = pytest.mark.django_db


@pytest.fixture
def demo(owner: User, client: Client) -> Experiment:
    client.force_login(owner)
    experiment = cast.experiment(owner=owner)
    cast.population(experiment)
    return experiment


def read(client: Client, name: str, **query: str) -> Any:
    return json.loads(client.get(reverse(name, args=["demo"]), query).content)


def trial_of(variant: Variant, *, points: int, ended: bool = True) -> Trial:
    trial = Trial.objects.create(variant=variant, purpose=Purpose.SCORE, seed=1)
    more(trial, range(points))
    if ended:
        trial.ended_at, trial.verdict = timezone.now(), Verdict.MEASURED
        trial.save()
    return trial


def more(trial: Trial, steps: range) -> None:
    Point.objects.bulk_create([
        Point(trial=trial, step=step, tokens=100 * step, seconds=0.1 * step, loss=5.0 - 0.001 * step) for step in steps
    ])


def running(variant: Variant) -> Variant:
    """`variant`, half way through its training."""
    cast.move(variant, *cast.TO_TRAINING)
    trial = trial_of(variant, points=11, ended=False)
    Attempt.objects.create(trial=trial, number=1, device="cpu:0", state=AttemptState.TRAINING, progress=0.5)
    return variant


def test_the_state_says_how_healthy_the_search_is_and_what_is_done(client: Client, demo: Experiment) -> None:
    diversity, stagnation = read(client, "experiment_state")["health"]
    assert (diversity["name"], stagnation["word"], stagnation["alarm"]) == ("diversity", "too early to tell", False)
    remember(demo, health.CHANGED, actor="selection", data={"alarm": health.STAGNATION, "is_on": True})
    _, stagnation = read(client, "experiment_state")["health"]
    assert (stagnation["word"], stagnation["alarm"]) == ("yes", True)
    assert "0.01 nats" in stagnation["numbers"]
    assert "tournaments are smaller" in stagnation["does"]


def test_the_state_names_the_best_with_its_interval_and_its_change(client: Client, demo: Experiment) -> None:
    best = read(client, "experiment_state")["best"]
    assert (best["number"], best["perplexity"]) == (1, 10.5)
    assert best["error"] == pytest.approx(10.5 * 0.0196, rel=0.02)
    assert best["change"] == pytest.approx(10.5 / 12 - 1)


def test_a_rejected_number_is_never_the_best(client: Client, demo: Experiment) -> None:
    cast.move(cast.mutation(demo, rate=8.0), *cast.TO_TRAINING, Status.REJECTED, perplexity=1.1)
    assert read(client, "experiment_state")["best"]["number"] == 1


def test_the_state_counts_by_status_and_lists_every_variant(client: Client, demo: Experiment) -> None:
    state = read(client, "experiment_state")
    assert state["counts"] == {
        "survived": 1, "measured": 1, "vetoed": 1, "failed": 1, "in_review": 1, "stillborn": 1,
    }
    assert [row["n"] for row in state["variants"]] == [0, 1, 2, 3, 4, 5]
    assert (state["waiting"], state["review_count"]) == (1, 1)
    assert state["variants"][1]["parent"] == 0
    assert state["variants"][2]["perplexity"] is None


def test_the_state_says_how_many_broken_ideas_were_repaired(client: Client, demo: Experiment) -> None:
    found = read(client, "experiment_state")["repairs"]
    assert (found["tried"], found["share"], found["share_interval"]) == (0, None, None)


def test_progress_grows_with_every_variant_that_ends(client: Client, demo: Experiment) -> None:
    Experiment.objects.update(population=6)
    before = read(client, "experiment_state")["progress"]
    cast.move(demo.variants.get(number=4), Status.VETOED)
    after = read(client, "experiment_state")["progress"]
    assert 1 / 13 < before < after < 1


def test_mfu_is_estimated_from_the_counted_tokens_while_it_trains(client: Client, demo: Experiment) -> None:
    running(cast.mutation(demo, rate=8.0))
    row = read(client, "experiment_state")["variants"][-1]
    assert row["progress"] == 0.5
    assert row["tokens_per_second"] == pytest.approx(1000)
    assert row["mfu_so_far"] == pytest.approx(0.12 * 1000 / 15_000)
    assert row["mfu"] is None


def test_the_time_left_comes_from_what_was_measured(client: Client, demo: Experiment) -> None:
    trial = trial_of(demo.variants.get(number=1), points=2)
    attempt = Attempt.objects.create(trial=trial, number=1, device="cpu:0", state=AttemptState.ENDED)
    Attempt.objects.filter(pk=attempt.pk).update(ended_at=attempt.created_at + timedelta(seconds=10))
    # 9 in all, 6 there, 1 of them undecided: 4 to come, of which 3 in 5 train
    assert read(client, "experiment_state")["seconds_left"] == pytest.approx(4 * 3 / 5 * 10)


def test_curves_hold_at_most_500_points_a_trial(client: Client, demo: Experiment) -> None:
    trial_of(demo.variants.get(number=0), points=3000)
    curve = read(client, "experiment_curves")["curves"][0]
    assert curve["variant"] == 0
    assert not curve["running"]
    assert 100 < len(curve["points"]) <= 500
    assert curve["points"][0] == [0, 0, 0.0, 5.0]
    assert curve["points"][-1][0] == 2999


def test_curves_since_a_point_hold_only_what_came_after_it(client: Client, demo: Experiment) -> None:
    trial = trial_of(demo.variants.get(number=1), points=5, ended=False)
    last = read(client, "experiment_curves")["last"]
    assert read(client, "experiment_curves", since=str(last)) == {"last": last, "curves": []}
    more(trial, range(5, 8))
    news = read(client, "experiment_curves", since=str(last))
    assert [point[0] for point in news["curves"][0]["points"]] == [5, 6, 7]
    assert news["last"] > last


def test_checks_before_review_are_not_curves(client: Client, demo: Experiment) -> None:
    check = Trial.objects.create(variant=demo.variants.get(number=1), purpose=Purpose.CHECK, seed=1)
    more(check, range(3))
    assert read(client, "experiment_curves")["curves"] == []
    assert read(client, "experiment_curves", since="0")["curves"] == []


def test_the_lineage_has_every_variant_with_its_parents(client: Client, demo: Experiment) -> None:
    crossed = cast.mutation(demo, rate=7.0, other_parent=demo.variants.get(number=1))
    tree = read(client, "lineage_data")
    rows = [dict(zip(tree["fields"], row, strict=True)) for row in tree["rows"]]
    assert [row["n"] for row in rows] == [0, 1, 2, 3, 4, 5, 6]
    assert rows[0]["parent"] is None
    assert rows[crossed.number] | {"parent": 0, "other": 1} == rows[crossed.number]


@pytest.mark.usefixtures("demo")
def test_the_estimate_says_when_nothing_was_measured(client: Client) -> None:
    asked = {"population": "10", "generations": "5", "amount": "1000", "budget": "tokens"}
    answer = client.get(reverse("experiment_estimate"), asked).json()
    assert answer == {"trainings": 51, "seconds": None, "measured": 0}


def test_the_estimate_scales_with_the_budget(client: Client, demo: Experiment) -> None:
    trial = trial_of(demo.variants.get(number=1), points=2)
    attempt = Attempt.objects.create(trial=trial, number=1, device="cpu:0", state=AttemptState.ENDED)
    Attempt.objects.filter(pk=attempt.pk).update(ended_at=attempt.created_at + timedelta(seconds=5))
    asked = {"population": "1", "generations": "1", "amount": "30000", "budget": "tokens"}
    seconds = client.get(reverse("experiment_estimate"), asked).json()["seconds"]
    assert seconds == pytest.approx(2 * (30_000 / 15_000 + 5 - 1.3))


def test_in_a_steady_pace_every_window_counts_for_the_progress(client: Client, demo: Experiment) -> None:
    """The baseline and four of eight places have ended, one waits for review, and the second window has begun."""
    demo.generation_rows.create(number=2)
    Experiment.objects.filter(pk=demo.pk).update(generation=2, pace=Pace.STEADY)
    assert read(client, "experiment_state")["progress"] == pytest.approx((1 + 4 + 0.1) / (1 + 2 * 4))
