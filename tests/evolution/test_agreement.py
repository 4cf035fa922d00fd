"""Whose opinion turned out to be worth something."""

import pytest

from evolution import agreement
from evolution.agreement import Standing, Table
from evolution.models import Assessment, Experiment, Moment, Opinion, Status, Variant
from tests import cast

pytestmark = pytest.mark.django_db

S = Status


@pytest.fixture
def bred(experiment: Experiment) -> Experiment:
    return cast.bred(experiment)


def opine(variant: Variant, opinion: str, *, assessor: str = "agent:m", moment: Moment = Moment.BEFORE) -> None:
    Assessment.objects.create(variant=variant, assessor=assessor, moment=moment, opinion=opinion, text="because")


def reviewed(experiment: Experiment, rate: float, new: Status, *, actor: str = "user:rita") -> Variant:
    variant = cast.move(cast.mutation(experiment, rate=rate), *cast.TO_REVIEW)
    return cast.move(variant, new, actor=actor)


def standing(experiment: Experiment, assessor: str = "agent:m") -> Standing:
    (found,) = [one for one in agreement.standings(experiment) if one.assessor == assessor]
    return found


def test_without_opinions_there_is_nobody_to_judge(bred: Experiment) -> None:
    assert agreement.standings(bred) == []


def test_opinions_are_compared_with_what_people_decided(bred: Experiment) -> None:
    opine(reviewed(bred, 2, S.APPROVED), Opinion.SOUND)
    opine(reviewed(bred, 3, S.VETOED), Opinion.DOUBTFUL)
    opine(reviewed(bred, 4, S.VETOED), Opinion.SOUND)
    opine(reviewed(bred, 5, S.APPROVED), Opinion.HARMFUL)
    opine(reviewed(bred, 6, S.APPROVED, actor="rule:auto"), Opinion.HARMFUL)
    opine(reviewed(bred, 7, S.SUPERSEDED), Opinion.SOUND)
    opine(reviewed(bred, 8, S.APPROVED), "")
    found = standing(bred)
    assert found.reviewers == Table(1, 1, 1, 1)
    assert found.reviewers.kappa == pytest.approx(0.0)
    assert (found.read, found.opinions) == (7, 6)


def test_opinions_are_compared_with_what_came_out(bred: Experiment) -> None:
    for rate, opinion, perplexity in ((2, Opinion.SOUND, 11.0), (3, Opinion.SOUND, 13.0), (4, Opinion.HARMFUL, 14.0)):
        opine(cast.measured(cast.mutation(bred, rate=rate), perplexity), opinion)
    opine(cast.move(cast.mutation(bred, rate=5), *cast.TO_TRAINING, S.FAILED), Opinion.SOUND)
    opine(cast.move(cast.mutation(bred, rate=6), *cast.TO_REVIEW), Opinion.SOUND)
    found = standing(bred).outcomes
    assert found == Table(both=1, first=2, second=0, neither=1)
    assert found.agreed is not None
    assert found.agreed.value == 0.5
    assert found.agreed.low < 0.5 < found.agreed.high


def test_explanations_are_compared_with_the_rule_where_both_are_sure(bred: Experiment) -> None:
    confirmed, refuted, undecided = Opinion.CONFIRMED, Opinion.REFUTED, Opinion.OPEN
    pairs = ((confirmed, confirmed), (confirmed, refuted), (undecided, refuted), (undecided, undecided))
    for rate, (mine, rule) in enumerate(pairs, 2):
        variant = cast.measured(cast.mutation(bred, rate=rate), 11.0)
        opine(variant, mine, moment=Moment.AFTER)
        opine(variant, rule, moment=Moment.AFTER, assessor="record")
    assert standing(bred).rule == Table(both=1, first=1)
    assert standing(bred, "record").rule is None


def test_the_record_comes_last(bred: Experiment) -> None:
    variant = cast.mutation(bred)
    for assessor in ("record", "agent:z", "agent:a"):
        opine(variant, "", assessor=assessor)
    assert [one.assessor for one in agreement.standings(bred)] == ["agent:a", "agent:z", "record"]
