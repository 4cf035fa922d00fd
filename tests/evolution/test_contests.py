"""Challenger against champion: who meets whom, which seeds count, what decides, and what a crash leaves behind."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models import QuerySet
from django.utils import timezone

from evolution import contests, documents, experiments
from evolution.contests import next_challenger, pairs_of, step, under_way
from evolution.generations import close_generation
from evolution.genetics import evidence
from evolution.models import Contest, ContestOutcome, Experiment, ExperimentStatus, Replicate, Status, Variant
from tests import cast

pytestmark = pytest.mark.django_db

S = Status


@pytest.fixture
def experiment(db: None) -> Experiment:
    """A baseline of perplexity 12 that is the champion, and generation 1 with a 9 and a 10; eight pairs at most."""
    made = cast.bred(cast.experiment("contested", confirm_pairs=8))
    settle(made)
    for perplexity in (9.0, 10.0):
        cast.measured(cast.mutation(made, rate=perplexity), perplexity)
    settle(made)
    made.refresh_from_db()
    return made


def settle(experiment: Experiment) -> Experiment:
    """Take every step of the generations that is due; contests are left alone."""
    fresh = Experiment.objects.get(pk=experiment.pk)
    while fresh.status == ExperimentStatus.RUNNING and close_generation(fresh, filled=True):
        fresh = Experiment.objects.get(pk=experiment.pk)
        if fresh.generation > 0 and not fresh.variants.filter(generation__number=fresh.generation).exists():
            break
    return fresh


def go_on(experiment: Experiment) -> Experiment:
    """Take every step of the contests that is due, as the station does."""
    fresh = Experiment.objects.get(pk=experiment.pk)
    while step(fresh):
        fresh = Experiment.objects.get(pk=experiment.pk)
    return fresh


def wanted(experiment: Experiment) -> QuerySet[Replicate]:
    return Replicate.objects.filter(variant__experiment=experiment, wanted=True, verdict="")


def measure(run: Replicate, loss: float) -> None:
    Replicate.objects.filter(pk=run.pk).update(
        verdict="measured", val_loss=loss, perplexity=2.7**loss, ended_at=timezone.now()
    )


def fight(experiment: Experiment, loss: Callable[[Variant, int], float]) -> Experiment:
    """Run and count pairs until nothing more is wanted; `loss` of a variant and the number of its run."""
    after = go_on(experiment)
    while runs := list(wanted(experiment)):
        for run in runs:
            measure(run, loss(run.variant, run.variant.replicates.exclude(verdict="").count()))
        after = go_on(experiment)
    return after


def better_by(gain: float) -> Callable[[Variant, int], float]:
    """The variant 1 is better by about `gain`, everyone else like the baseline."""
    return lambda variant, run: 2.0 + 0.001 * run**2 - (gain + 0.0003 * run if variant.number == 1 else 0.0)


def contest(experiment: Experiment, number: int = 1) -> Contest:
    return experiment.contests.get(number=number)


def test_the_lowest_screening_number_leads_but_is_not_the_champion(experiment: Experiment) -> None:
    assert experiment.champion == experiment.baseline
    assert [one.data["variant"] for one in experiment.events.filter(kind="champion.changed")] == [0]


def test_without_confirmation_runs_there_are_no_contests(experiment: Experiment) -> None:
    Experiment.objects.update(confirm_pairs=0)
    assert go_on(experiment).contests.count() == 0


def test_the_best_screened_variant_meets_the_champion_on_two_pairs_first(experiment: Experiment) -> None:
    go_on(experiment)
    first = contest(experiment)
    assert (first.challenger.number, first.champion.number, first.generation) == (1, 0, 1)
    runs = wanted(experiment)
    assert [run.variant.number for run in runs] == [0, 1, 0, 1]
    assert len(first.seeds) == len(set(first.seeds)) == 2
    assert experiment.seed not in first.seeds


def test_a_large_gain_is_promoted_with_its_evidence(experiment: Experiment) -> None:
    after = fight(experiment, better_by(0.3))
    first = contest(experiment)
    assert first.outcome == ContestOutcome.PROMOTED
    assert after.champion is not None
    assert after.champion.number == 1
    assert first.e_value >= evidence.threshold(1)
    assert first.gain_low is not None
    assert first.gain is not None
    assert first.gain_high is not None
    assert first.gain_low < 0.3 < first.gain_high
    assert first.gain_low < first.gain < first.gain_high
    told = after.events.get(kind="champion.changed", data__variant=1).data
    assert (told["contest"], told["previous"], told["pairs"]) == (1, 0, first.pairs)


def test_a_change_that_does_nothing_is_not_promoted(experiment: Experiment) -> None:
    after = fight(experiment, lambda variant, run: 2.0 + (0.01 if (run + variant.number) % 2 else -0.01))
    assert {one.outcome for one in after.contests.all()} <= {ContestOutcome.FUTILE, ContestOutcome.UNDECIDED}
    assert after.champion == after.baseline


def test_what_eight_pairs_cannot_prove_is_undecided(experiment: Experiment) -> None:
    fight(experiment, lambda variant, run: 2.0 + 0.1 * (run % 2 == 0) * (variant.number == 0) - 0.02 * variant.number)
    first = contest(experiment)
    assert (first.outcome, first.pairs) == (ContestOutcome.UNDECIDED, 8)


def test_after_two_pairs_one_more_is_asked_for_at_a_time(experiment: Experiment) -> None:
    go_on(experiment)
    for _ in range(2):
        for run in list(wanted(experiment)):
            measure(run, better_by(0.3)(run.variant, run.variant.replicates.exclude(verdict="").count()))
        go_on(experiment)
        assert wanted(experiment).count() == 2


def test_a_pair_counts_only_after_the_one_before(experiment: Experiment) -> None:
    go_on(experiment)
    first = contest(experiment)
    for run in wanted(experiment).filter(seed=first.seeds[1]):
        measure(run, 2.0)
    go_on(experiment)
    assert contest(experiment).pairs == 0


def test_each_pair_is_remembered_with_both_losses(experiment: Experiment) -> None:
    fight(experiment, better_by(0.3))
    lines = [one.data for one in experiment.events.filter(kind="contest.pair").order_by("id")]
    assert [line["pair"] for line in lines] == [*range(1, contest(experiment).pairs + 1)]
    assert lines[0]["champion_loss"] == pytest.approx(2.0)
    assert lines[0]["challenger_loss"] == pytest.approx(1.7)


def test_a_challenger_that_fails_a_run_is_no_better(experiment: Experiment) -> None:
    go_on(experiment)
    run = wanted(experiment).get(seed=contest(experiment).seeds[0], variant__number=1)
    Replicate.objects.filter(pk=run.pk).update(verdict="failed", reason="diverged: the loss is not a number")
    go_on(experiment)
    first = contest(experiment)
    assert first.outcome == ContestOutcome.FUTILE
    assert "diverged" in first.reason
    assert Replicate.objects.filter(variant=first.challenger, wanted=True, verdict="").count() == 0


def test_a_champion_that_fails_a_run_voids_the_contest(experiment: Experiment) -> None:
    go_on(experiment)
    run = wanted(experiment).filter(variant__number=0).first()
    assert run is not None
    Replicate.objects.filter(pk=run.pk).update(verdict="rejected", reason="too slow")
    go_on(experiment)
    assert contest(experiment).outcome == ContestOutcome.VOID
    again = under_way(experiment)
    assert again is not None
    assert run.seed not in again.seeds


def test_the_champions_runs_are_cached_for_the_next_challenger(experiment: Experiment) -> None:
    fight(experiment, lambda variant, run: 2.0 + (0.01 if (run + variant.number) % 2 else -0.01))
    one, two = contest(experiment), contest(experiment, 2)
    assert set(one.seeds[:two.pairs]) <= set(two.seeds)
    assert experiment.baseline is not None
    assert experiment.baseline.replicates.count() == max(len(one.seeds), len(two.seeds))


def test_a_seed_drawn_before_the_approval_is_never_used_again(experiment: Experiment) -> None:
    assert experiment.baseline is not None
    early = timezone.now() - timedelta(days=1)
    Replicate.objects.create(variant=experiment.baseline, seed=7, drawn_at=early, verdict="measured", val_loss=2.0)
    go_on(experiment)
    assert 7 not in contest(experiment).seeds


def test_a_seed_drawn_after_the_approval_is_used_first(experiment: Experiment) -> None:
    assert experiment.baseline is not None
    Replicate.objects.create(
        variant=experiment.baseline, seed=7, drawn_at=timezone.now(), verdict="measured", val_loss=2.0
    )
    go_on(experiment)
    assert contest(experiment).seeds[0] == 7
    assert wanted(experiment).filter(variant=experiment.baseline).count() == 1


def test_at_most_two_contests_follow_a_generation(experiment: Experiment) -> None:
    cast.move(cast.measured(cast.mutation(experiment, rate=11.0), 11.0), S.CULLED)
    after = fight(experiment, lambda variant, run: 2.0 + (0.01 if (run + variant.number) % 2 else -0.01))
    assert [one.challenger.number for one in after.contests.all()] == [1, 2]
    assert next_challenger(after) is None


def test_the_experiment_ends_only_when_no_contest_is_due(experiment: Experiment) -> None:
    cast.measured(cast.mutation(experiment, rate=8.0), 8.0)
    Experiment.objects.update(generation=2)
    assert settle(experiment).status == ExperimentStatus.RUNNING
    fight(experiment, better_by(0.3))
    assert settle(experiment).status == ExperimentStatus.FINISHED


def test_a_stop_voids_the_open_contest_and_withdraws_its_runs(experiment: Experiment) -> None:
    after = go_on(experiment)
    experiments.stop(after, actor="user:olivia")
    assert contest(experiment).outcome == ContestOutcome.VOID
    assert wanted(experiment).count() == 0


def test_a_pause_leaves_the_contest_open(experiment: Experiment) -> None:
    after = go_on(experiment)
    experiments.pause(after, actor="user:olivia")
    assert contest(experiment).outcome == ContestOutcome.OPEN
    assert wanted(experiment).count() == 4


def test_a_pair_is_counted_once_whoever_looks(experiment: Experiment) -> None:
    go_on(experiment)
    stale = under_way(experiment)
    assert stale is not None
    for run in list(wanted(experiment)):
        measure(run, 2.0)
    pairs = pairs_of(stale)
    assert contests._count(stale, pairs[0], [0.0])
    again = Contest.objects.get(pk=stale.pk)
    again.pairs = 0
    assert not contests._count(again, pairs[0], [0.0])
    assert experiment.events.filter(kind="contest.pair").count() == 1


def test_the_same_pair_is_not_asked_for_twice(experiment: Experiment) -> None:
    go_on(experiment)
    stale = under_way(experiment)
    assert stale is not None
    stale.seeds = []
    assert not contests._request(stale)
    assert len(contest(experiment).seeds) == 2


def test_the_documents_hold_contests_and_replicates(experiment: Experiment) -> None:
    after = fight(experiment, better_by(0.3))
    told = documents.experiment_document(after)["contests"][0]
    assert (told["champion"], told["challenger"], told["outcome"]) == (0, 1, "promoted")
    champion = after.champion
    assert champion is not None
    runs = documents.SECTIONS["replicates"].write(champion)
    assert [run["seed"] for run in runs] == told["seeds"]
