"""What the record of a strategy says of what became of its proposals."""

import math

import pytest

from evolution import rounds
from evolution.memory import remember
from evolution.models import Experiment, Generation, Kind, Status, Strategy
from evolution.records import records
from tests import cast

pytestmark = pytest.mark.django_db

S = Status


@pytest.fixture
def mine(experiment: Experiment) -> Strategy:
    cast.bred(experiment)
    return experiment.strategies.get(name="constants")


def test_a_strategy_that_was_never_asked_has_an_empty_record(experiment: Experiment, mine: Strategy) -> None:
    record = records(experiment)["nobody"]
    assert (record.proposals, record.gain, record.worth, record.usd) == (0, None, None, 0)


def test_every_fate_is_counted_once(experiment: Experiment, mine: Strategy) -> None:
    fates = {
        S.DUPLICATE: (S.DUPLICATE,), S.STILLBORN: (S.SCREENED, S.STILLBORN), S.VETOED: (*cast.TO_REVIEW, S.VETOED),
        S.FAILED: (*cast.TO_TRAINING, S.FAILED), S.REJECTED: (*cast.TO_TRAINING, S.REJECTED),
        S.SURVIVED: (*cast.TO_TRAINING, S.MEASURED, S.SURVIVED, S.CULLED), S.DRAFTED: (),
    }
    for rate, road in enumerate(fates.values(), 2):
        variant = cast.mutation(experiment, rate=rate, strategy=mine, tokens_in=10, tokens_out=5, cost_usd=0.5)
        if road:
            cast.move(variant, *road)
    one = rounds.begin(experiment, Generation.objects.get(experiment=experiment, number=1))
    rounds.refuse(one, variant, actor="agent:x", reason="no", strategy=mine, tokens_in=1, tokens_out=1, cost_usd=0.25)
    record = records(experiment)[mine.name]
    assert (record.proposals, record.refused, record.duplicates, record.stillborn, record.vetoed) == (8, 1, 1, 1, 1)
    assert (record.failed, record.measured, record.survivors, record.accepted) == (2, 1, 1, 3)
    assert record.tokens == 7 * 15 + 2
    assert record.usd == pytest.approx(3.75)


def test_the_gain_is_the_fall_of_the_log_perplexity_against_the_parent(experiment: Experiment, mine: Strategy) -> None:
    parent = cast.measured(cast.mutation(experiment, rate=2, strategy=mine), 10.0)
    cast.measured(cast.mutation(experiment, rate=3, strategy=mine, parent=parent), 11.0)
    record = records(experiment)[mine.name]
    first, second = math.log(12 / 10), math.log(10 / 11)
    assert record.gains == pytest.approx([first, second])
    assert record.gain is not None
    assert record.gain.value == pytest.approx((first + second) / 2)
    assert record.gain.low < 0 < record.gain.high
    assert [one.reward for one in record.outcomes] == pytest.approx([first, 0.0])


def test_one_measurement_has_no_interval(experiment: Experiment, mine: Strategy) -> None:
    cast.measured(cast.mutation(experiment, strategy=mine), 10.0)
    record = records(experiment)[mine.name]
    assert record.gain is None
    assert record.mean_gain == pytest.approx(math.log(1.2))


def test_what_is_under_way_or_was_called_off_says_nothing_yet(experiment: Experiment, mine: Strategy) -> None:
    cast.move(cast.mutation(experiment, rate=2, strategy=mine), *cast.TO_REVIEW)
    cast.move(cast.mutation(experiment, rate=3, strategy=mine), S.CANCELLED)
    cast.move(cast.mutation(experiment, rate=4, strategy=mine), *cast.TO_REVIEW, S.SUPERSEDED)
    assert records(experiment)[mine.name].proposals == 3
    assert records(experiment)[mine.name].outcomes == []


def test_a_repair_is_compared_with_the_code_that_worked_before(experiment: Experiment, mine: Strategy) -> None:
    broken = cast.move(cast.mutation(experiment, rate=2), *cast.TO_TRAINING, S.FAILED)
    again = cast.move(
        cast.mutation(experiment, rate=3, parent=broken, kind=Kind.REPAIR, strategy=mine), S.SCREENED, S.STILLBORN
    )
    cast.measured(cast.mutation(experiment, rate=4, parent=again, kind=Kind.REPAIR, strategy=mine), 10.0)
    record = records(experiment)[mine.name]
    assert record.repaired == 1
    assert record.gains == pytest.approx([math.log(12 / 10)])


def test_device_time_counts_checks_and_failures_and_not_the_proof(experiment: Experiment, mine: Strategy) -> None:
    variant = cast.move(cast.mutation(experiment, rate=2, strategy=mine), *cast.TO_TRAINING, S.FAILED)
    for purpose, seconds in (("check", 1.0), ("score", 7.0), ("confirm", 100.0)):
        remember(experiment, "trial.ended", actor="sandbox", variant=variant, data={
            "purpose": purpose, "verdict": "failed", "result": {"device_seconds": seconds},
        })
    assert records(experiment)[mine.name].device_seconds == 8.0


def test_drafts_device_time_and_money_weigh_the_same_and_the_average_costs_one(
    experiment: Experiment, mine: Strategy
) -> None:
    other = experiment.strategies.get(name="schedule")
    cast.measured(cast.mutation(experiment, rate=2, strategy=mine, cost_usd=0.3), 10.0, device_seconds=30.0)
    cast.measured(cast.mutation(experiment, rate=3, strategy=other, cost_usd=0.1), 10.0, device_seconds=10.0)
    found = records(experiment)
    assert found[mine.name].outcomes[0].cost == pytest.approx((1 + 1.5 + 1.5) / 3)
    assert found[other.name].outcomes[0].cost == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_where_nothing_is_spent_every_draft_costs_the_same(experiment: Experiment, mine: Strategy) -> None:
    for rate in (2, 3):
        cast.move(cast.mutation(experiment, rate=rate, strategy=mine), S.DUPLICATE)
    assert [one.cost for one in records(experiment)[mine.name].outcomes] == [1.0, 1.0]


def test_outcomes_know_how_many_generations_ago_they_were(experiment: Experiment, mine: Strategy) -> None:
    cast.measured(cast.mutation(experiment, strategy=mine), 10.0)
    experiment.generation = 4
    assert [one.age for one in records(experiment)[mine.name].outcomes] == [3]
