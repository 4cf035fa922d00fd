"""The one verb that makes a variant."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.db import connections, transaction

from evolution.drafting import draft
from evolution.errors import PatchRefused
from evolution.genomes import store_of, sweep
from evolution.models import Experiment, Kind, Variant
from tests import cast


@pytest.mark.django_db
def test_a_draft_is_a_commit_a_row_and_an_event(experiment: Experiment) -> None:
    variant = cast.mutation(experiment, rate=2.0, author="agent:x", expected="less")
    assert variant.number == 1
    assert store_of(experiment).refs()[1] == variant.commit
    assert variant.lines_changed == 2
    event = experiment.events.get(kind="variant.drafted", variant=variant)
    assert (event.actor, event.data["parent"], event.data["commit"]) == ("agent:x", 0, variant.commit)


@pytest.mark.django_db
def test_a_refused_patch_leaves_nothing(experiment: Experiment) -> None:
    with pytest.raises(PatchRefused, match=r"genome\.toml"):
        cast.drafted(experiment, {**cast.FILES, "genome.toml": b""})
    assert experiment.variants.count() == 1
    assert list(store_of(experiment).refs()) == [0]


@pytest.mark.django_db
def test_an_edit_joins_the_generation_of_what_it_replaces(experiment: Experiment) -> None:
    cast.bred(experiment)
    original = cast.mutation(experiment)
    experiment.generation_rows.create(number=2)
    Experiment.objects.filter(pk=experiment.pk).update(generation=2)
    edited = cast.mutation(experiment, parent=original, rate=7, kind=Kind.EDIT, author="user:rita")
    patch = cast.mutation(experiment, parent=original, rate=8, kind=Kind.PATCH, author="user:rita")
    assert (edited.generation.number, patch.generation.number) == (1, 2)


@pytest.mark.django_db
def test_a_crossover_that_equals_a_parent_is_refused(experiment: Experiment) -> None:
    one, other = cast.mutation(experiment, rate=2), cast.mutation(experiment, rate=3)
    files = store_of(experiment).files(other.commit)
    with pytest.raises(PatchRefused, match="equals one of its parents"):
        draft(
            experiment, parent=one, other_parent=other, files=files, kind=Kind.CROSSOVER, author="operator:crossover",
            title="x",
        )


@pytest.mark.django_db
def test_a_long_title_becomes_one_short_line(experiment: Experiment) -> None:
    assert cast.mutation(experiment, title="a\nb " + "c" * 500).title == "a b " + "c" * 196


@pytest.mark.django_db
def test_words_that_hold_half_a_character_or_a_zero_byte_are_kept_readable(experiment: Experiment) -> None:
    variant = cast.mutation(experiment, title="a\0b", hypothesis="half \ud800", rationale="日本")
    variant.refresh_from_db()
    assert (variant.title, variant.hypothesis, variant.rationale) == ("a\ufffdb", "half ?", "日本")


@pytest.mark.django_db
def test_a_kill_before_the_row_leaves_a_ref_that_the_next_draft_replaces(experiment: Experiment) -> None:
    def killed() -> None:
        with transaction.atomic():
            cast.mutation(experiment, rate=2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert list(sweep(experiment)) == [1]
    variant = cast.mutation(experiment, rate=3)
    assert variant.number == 1
    assert store_of(experiment).refs()[1] == variant.commit
    assert not sweep(experiment)


@pytest.mark.usefixtures("database_for_threads")
def test_drafts_at_the_same_time_get_numbers_of_their_own() -> None:
    def alone(call: Callable[[], Any]) -> Any:
        try:
            return call()
        finally:
            connections.close_all()

    def one(rate: int) -> Variant:
        return cast.mutation(Experiment.objects.get(), rate=rate)

    with ThreadPoolExecutor(4) as threads:
        experiment = threads.submit(alone, cast.experiment).result()
        made = list(threads.map(alone, [partial(one, rate) for rate in range(2, 10)]))
    assert sorted(variant.number for variant in made) == list(range(1, 9))
    refs = store_of(experiment).refs()
    assert all(refs[variant.number] == variant.commit for variant in made)
