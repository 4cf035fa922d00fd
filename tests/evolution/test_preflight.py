"""Screening: the checks that run no code, cheapest first."""

import pytest

from evolution.drafting import draft
from evolution.genomes import store_of
from evolution.models import Experiment, Kind, Status, Variant
from evolution.preflight import screen
from tests import cast

pytestmark = pytest.mark.django_db


def written(experiment: Experiment, model: bytes) -> Variant:
    baseline = experiment.variants.get(number=0)
    return draft(
        experiment, parent=baseline, files={**cast.FILES, "model.py": model}, kind=Kind.MUTATION, author="agent:x",
        title="x",
    )


def checks(variant: Variant) -> list[tuple[str, bool]]:
    return list(variant.checks.values_list("name", "passed"))


def test_good_code_passes_every_check_and_waits_for_the_sandbox(experiment: Experiment) -> None:
    variant = cast.mutation(experiment)
    assert screen(variant) == Status.SCREENED
    names = "path gate", "parse", "change", "names", "allowed", "new"
    assert checks(variant) == [(name, True) for name in names]
    assert experiment.events.filter(kind="check.done", variant=variant).count() == 6


def test_the_baseline_is_screened_too(experiment: Experiment) -> None:
    assert screen(experiment.variants.get(number=0)) == Status.SCREENED


def test_code_that_cannot_be_parsed_is_stillborn_and_no_more_is_checked(experiment: Experiment) -> None:
    variant = written(experiment, b"class Bigram(:\n")
    assert screen(variant) == Status.STILLBORN
    assert variant.reason == "model.py:1: invalid syntax"
    assert checks(variant) == [("path gate", True), ("parse", False)]


def test_a_missing_name_is_stillborn(experiment: Experiment) -> None:
    variant = written(experiment, cast.MODEL.replace(b"nn.Embedding", b"nm.Embedding"))
    assert screen(variant) == Status.STILLBORN
    assert variant.reason == "model.py:13: nm is not defined"


def test_what_no_proposal_may_bring_is_stillborn(experiment: Experiment) -> None:
    variant = written(experiment, b"import socket\n" + cast.MODEL)
    assert screen(variant) == Status.STILLBORN
    assert variant.reason == "model.py:1: network: imports socket"


def test_the_same_idea_again_is_a_duplicate_of_the_vetoed_one(experiment: Experiment) -> None:
    vetoed = cast.mutation(experiment)
    screen(vetoed)
    cast.move(vetoed, Status.CHECKED, Status.IN_REVIEW, Status.VETOED, reason="costly")
    again = cast.mutation(experiment, author="agent:y")
    assert screen(again) == Status.DUPLICATE
    assert again.reason == "the same code as v1, which is turned down by a reviewer"


def test_a_comment_does_not_make_it_new(experiment: Experiment) -> None:
    screen(experiment.variants.get(number=0))
    variant = written(experiment, cast.MODEL + b"# improved\n")
    stale = Variant.objects.get(pk=variant.pk)
    assert screen(variant) == Status.DUPLICATE
    assert variant.reason == "no change: v0 with other comments or layout"
    assert screen(stale) == Status.DUPLICATE


def test_code_that_nothing_uses_is_no_change(experiment: Experiment) -> None:
    screen(experiment.variants.get(number=0))
    variant = written(experiment, cast.MODEL + b"\n\ndef better() -> int:\n    return 1\n")
    assert screen(variant) == Status.DUPLICATE
    assert variant.reason == "no change: what it adds to v0 is used by nothing"


def test_a_call_that_cannot_work_is_stillborn(experiment: Experiment) -> None:
    variant = written(experiment, cast.MODEL.replace(b"Bigram(256)", b"Bigram(256, 4)"))
    assert screen(variant) == Status.STILLBORN
    assert "Bigram() takes 1 positional arguments, and is given 2" in variant.reason


def test_screening_again_after_a_kill_repeats_nothing(experiment: Experiment) -> None:
    variant = cast.mutation(experiment)
    stale = Variant.objects.get(pk=variant.pk)
    screen(variant)
    assert screen(stale) == Status.SCREENED
    assert variant.checks.count() == 6
    assert variant.transitions.count() == 1


def test_a_kill_between_the_checks_and_the_move_ends_the_same(experiment: Experiment) -> None:
    first = cast.mutation(experiment)
    screen(first)
    twin = cast.mutation(experiment)
    stale = Variant.objects.get(pk=twin.pk)
    screen(twin)
    # As if the row had not been moved yet: only the checks are there.
    stale.checks.filter(name="parse").delete()
    assert screen(stale) == Status.DUPLICATE


def test_a_commit_that_left_the_allowed_paths_is_stopped_here_too(experiment: Experiment) -> None:
    variant = cast.mutation(experiment)
    files = {**cast.FILES, "genome.toml": cast.MANIFEST + b"# more rights\n"}
    Variant.objects.filter(pk=variant.pk).update(commit=store_of(experiment).commit(
        files, parents=[], message="m", author="x", number=variant.number,
    ))
    variant.refresh_from_db()
    assert screen(variant) == Status.STILLBORN
    assert "genome.toml may not be changed" in variant.reason
