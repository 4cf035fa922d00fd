"""One door: the table, the database's own copy of it, and a search for other doors."""

import re
from importlib import import_module
from itertools import product
from pathlib import Path

import pytest
from django.conf import settings
from django.db import IntegrityError, transaction

from evolution.errors import StaleTransition
from evolution.lifecycle import NEXT, advance
from evolution.models import Experiment, Status, Transition, Variant
from tests import cast

ROOT = Path(settings.BASE_DIR)


@pytest.mark.django_db
def test_the_databases_edges_are_those_of_the_table(experiment: Experiment) -> None:
    generation = experiment.generation_rows.get(number=0)
    allowed = set()
    for number, (old, new) in enumerate(product(Status, Status), 1):
        row = Variant.objects.create(
            experiment=experiment, number=number, generation=generation, status=old, author="system", title="x"
        )
        try:
            with transaction.atomic():
                Variant.objects.filter(pk=row.pk).update(status=new)
        except IntegrityError:
            continue
        if old != new:
            allowed.add((old, new))
    assert allowed == {(old, new) for old, every in NEXT.items() for new in every}


def test_the_migration_names_the_same_edges_as_the_table() -> None:
    edges = import_module("evolution.migrations.0002_legal_moves").EDGES
    assert {old: set(new) for old, new in edges.items()} == {
        old.value: {one.value for one in new} for old, new in NEXT.items() if new
    }


def test_nobody_else_writes_a_status() -> None:
    """A status written past `advance` has no transition, no event and no wake-up."""
    write = re.compile(r"variant\.status\s*=[^=]|(Variant\.objects|variants)\..*update\(.*\bstatus=")
    places = [
        f"{file.relative_to(ROOT)}:{number}"
        for app in ("darwin_web", "evolution", "review", "sandbox")
        for file in (ROOT / app).rglob("*.py")
        if "migrations" not in file.parts and file != ROOT / "evolution" / "lifecycle.py"
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if write.search(line)
    ]
    assert places == []


@pytest.mark.django_db
def test_a_move_leaves_a_transition_and_an_event(experiment: Experiment) -> None:
    variant = cast.move(experiment.variants.get(), Status.SCREENED, actor="system", reason="looks fine")
    transition = Transition.objects.get(variant=variant)
    assert (transition.old, transition.new, transition.reason) == ("drafted", "screened", "looks fine")
    assert experiment.events.filter(kind="variant.moved", variant=variant).count() == 1


@pytest.mark.django_db
def test_of_two_racing_callers_one_wins(experiment: Experiment) -> None:
    first, second = experiment.variants.get(), experiment.variants.get()
    advance(first, Status.SCREENED, actor="system")
    with pytest.raises(StaleTransition, match="no longer"):
        advance(second, Status.STILLBORN, actor="system")
    assert Transition.objects.filter(variant=first).count() == 1


@pytest.mark.django_db
def test_a_move_that_is_not_in_the_table_is_refused(experiment: Experiment) -> None:
    with pytest.raises(StaleTransition, match="cannot become"):
        advance(experiment.variants.get(), Status.MEASURED, actor="system")
