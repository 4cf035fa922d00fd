"""Nobody changes or deletes a decision: neither through the model, nor past it."""

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction

from evolution.errors import Refused
from evolution.models import Variant
from review.decisions import accept
from review.models import Decision


@pytest.fixture
def decision(proposal: Variant, rita: User, shown: str) -> Decision:
    return accept(proposal, reviewer=rita, shown=shown)


def test_saving_a_decision_again_is_refused(decision: Decision) -> None:
    decision.verdict = "veto"
    with pytest.raises(Refused):
        decision.save()


def test_deleting_a_decision_is_refused(decision: Decision) -> None:
    with pytest.raises(Refused):
        decision.delete()


def test_updating_and_deleting_in_bulk_is_refused(decision: Decision) -> None:
    with pytest.raises(Refused):
        Decision.objects.update(verdict="veto")
    with pytest.raises(Refused):
        Decision.objects.all().delete()


@pytest.mark.parametrize("statement", [
    "UPDATE review_decision SET verdict = 'veto'",
    "UPDATE review_decision SET effective_at = created_at",
    "DELETE FROM review_decision",
])
def test_the_database_itself_refuses(decision: Decision, statement: str) -> None:
    with pytest.raises(DatabaseError, match="a decision is never"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert Decision.objects.get(pk=decision.pk).verdict == "accept"


def test_the_database_refuses_a_second_decision_for_one_turn(decision: Decision) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        Decision.objects.create(
            variant=decision.variant, turn=decision.turn, rule="any", verdict="accept",
            shown_sha256=decision.shown_sha256, effective_at=decision.effective_at,
        )
