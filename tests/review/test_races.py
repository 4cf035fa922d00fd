"""Two people, or a person and the clock, at the same moment: real threads with connections of their own."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from django.utils import timezone

from evolution.errors import Refused
from evolution.models import Role, Status, Transition, Variant
from review.admission import admit
from review.decisions import accept, settle_due, shown_hash, undo, veto
from review.models import Decision
from tests import cast

# On PostgreSQL threads see what was committed; on SQLite they get a database of their own.
pytestmark = [
    pytest.mark.django_db(transaction=connection.vendor != "sqlite"), pytest.mark.usefixtures("shared_database"),
]


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Do all `calls` at the same moment; their results, or how they were refused, in order."""
    gate, results = threading.Barrier(len(calls)), dict[int, Any]()

    def run(place: int, call: Callable[[], Any]) -> None:
        try:
            gate.wait()
            results[place] = call()
        except Exception as error:  # noqa: BLE001 the test looks at it
            results[place] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[place] for place in range(len(calls))]


def alone(call: Callable[[], Any]) -> Any:
    (result,) = at_once(call)
    if isinstance(result, Exception):
        raise result
    return result


def scene() -> tuple[Variant, list[User]]:
    experiment = cast.bred(cast.experiment(owner=cast.person("olivia")))
    proposal = cast.move(cast.mutation(experiment), *cast.TO_REVIEW)
    return proposal, [cast.member(f"reviewer{n}", experiment, Role.REVIEWER) for n in range(4)]


def test_of_reviewers_who_race_exactly_one_wins() -> None:
    proposal, people = alone(scene)
    shown = alone(lambda: shown_hash(proposal))
    results = at_once(
        lambda: accept(proposal, reviewer=people[0], shown=shown),
        lambda: veto(proposal, reviewer=people[1], shown=shown, category="known", reason=""),
        lambda: accept(proposal, reviewer=people[2], shown=shown),
        lambda: veto(proposal, reviewer=people[3], shown=shown, category="breaks", reason=""),
    )
    assert len([one for one in results if isinstance(one, Decision)]) == 1
    assert len([one for one in results if isinstance(one, Refused)]) == 3
    assert alone(lambda: Decision.objects.live().filter(variant=proposal).count()) == 1


def test_a_decision_takes_effect_once_however_many_stations_settle_it() -> None:
    proposal, people = alone(scene)
    alone(lambda: accept(proposal, reviewer=people[0], shown=shown_hash(proposal)))
    later = timezone.now() + timedelta(seconds=60)
    assert sum(at_once(*[lambda: settle_due(later)] * 4)) == 1
    assert alone(lambda: Transition.objects.filter(variant=proposal, new=Status.APPROVED).count()) == 1


def test_an_undo_and_the_effect_exclude_each_other() -> None:
    proposal, people = alone(scene)
    decision = alone(lambda: accept(proposal, reviewer=people[0], shown=shown_hash(proposal)))
    later = timezone.now() + timedelta(seconds=60)
    settled, undone = at_once(lambda: settle_due(later), lambda: undo(decision, reviewer=people[0]))
    status = alone(lambda: Variant.objects.get(pk=proposal.pk).status)
    if isinstance(undone, Decision):
        assert (settled, status) == (0, Status.IN_REVIEW)
    else:
        assert isinstance(undone, Refused)
        assert (settled, status) == (1, Status.APPROVED)


def test_stations_that_race_admit_a_variant_once() -> None:
    def checked() -> Variant:
        experiment = cast.bred(cast.experiment(owner=cast.person("olivia"), review="auto"))
        return cast.move(cast.mutation(experiment), Status.SCREENED, Status.CHECKED)

    variant = alone(checked)
    assert sum(at_once(admit, admit, admit)) == 1
    assert alone(lambda: Decision.objects.filter(variant=variant).count()) == 1
