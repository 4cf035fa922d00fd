"""Is a proposal new: the nearest earlier change, and vetoed ideas that come back."""

import pytest

from evolution import corrections, novelty
from evolution.drafting import draft
from evolution.genomes import store_of
from evolution.models import CorrectionAction, Event, Experiment, Kind, Status, Variant
from evolution.preflight import screen
from tests import cast

pytestmark = pytest.mark.django_db


def scaled(
    experiment: Experiment, *, parent: Variant | None = None, by: str = "model.scale", **fields: object
) -> Variant:
    """A proposal for `parent` that multiplies the logits, whatever else its code is."""
    origin = parent or experiment.variants.get(number=0)
    files = dict(store_of(experiment).files(origin.commit))
    files["train.py"] = files["train.py"].replace(b"logits = model(x)", f"logits = model(x) * run.{by}".encode())
    given = {"parent": origin, "kind": Kind.MUTATION, "author": "agent:x", "title": "scaled logits", **fields}
    return draft(experiment, files=files, **given)  # type: ignore[arg-type]


def vetoed(experiment: Experiment, **fields: object) -> Variant:
    variant = scaled(experiment, **fields)  # type: ignore[arg-type]
    screen(variant)
    return cast.move(
        variant, Status.CHECKED, Status.IN_REVIEW, Status.VETOED, actor="user:rita", reason="it only hides the rate"
    )


def other_parent(experiment: Experiment) -> Variant:
    return cast.measured(cast.mutation(experiment), 11.0)


def test_screening_writes_down_what_a_proposal_changed(experiment: Experiment) -> None:
    variant = cast.mutation(experiment)
    screen(variant)
    variant.refresh_from_db()
    assert (variant.family, variant.regions) == ("schedule", ["train.py:learning_rate"])
    assert len(variant.shingles) == 1


def test_an_operator_s_change_has_the_kind_of_the_operator(experiment: Experiment) -> None:
    variant = scaled(experiment, author="operator:logit_softcap")
    screen(variant)
    assert variant.family == "head"


def test_what_failed_an_early_check_is_described_too(experiment: Experiment) -> None:
    variant = scaled(experiment, by="scale + missing_name")
    assert screen(variant) == Status.STILLBORN
    assert variant.regions == ["train.py:main"]


def test_a_vetoed_idea_is_recognised_on_another_parent(experiment: Experiment) -> None:
    veto = vetoed(experiment)
    again = scaled(experiment, parent=other_parent(experiment))
    assert screen(again) == Status.DUPLICATE
    assert again.reason == f"vetoed as v{veto.number} (it only hides the rate): comes back unchanged in substance"
    again.refresh_from_db()
    assert (again.nearest, again.similarity) == (veto, 1.0)
    [event] = Event.objects.filter(kind="veto.returned")
    assert event.data == {"variant": again.number, "veto": veto.number, "similarity": 1.0}


def test_the_same_code_as_a_vetoed_one_counts_as_a_return(experiment: Experiment) -> None:
    vetoed(experiment)
    again = scaled(experiment, author="agent:y")
    assert screen(again) == Status.DUPLICATE
    assert "the same code as v1" in again.reason
    assert Event.objects.filter(kind="veto.returned").count() == 1


def test_a_vetoed_idea_that_was_changed_in_substance_is_let_pass(experiment: Experiment) -> None:
    veto = vetoed(experiment)
    different = scaled(experiment, parent=other_parent(experiment), by="model.scale * (1.0 - run.progress)")
    assert screen(different) == Status.SCREENED
    assert different.nearest == veto
    assert novelty.ALIKE <= (different.similarity or 0) < novelty.SAME


@pytest.mark.parametrize("kind", [Kind.PATCH, Kind.EDIT])
def test_a_person_may_bring_a_vetoed_idea_back(experiment: Experiment, kind: Kind) -> None:
    vetoed(experiment)
    by_hand = scaled(experiment, parent=other_parent(experiment), kind=kind, author="user:anna")
    assert screen(by_hand) == Status.SCREENED


def test_a_veto_that_was_revoked_stands_in_nobodys_way(experiment: Experiment) -> None:
    corrections.correct(vetoed(experiment), CorrectionAction.REVOKE, actor="user:rita")
    assert screen(scaled(experiment, parent=other_parent(experiment))) == Status.SCREENED


def test_what_failed_may_be_tried_on_another_parent_and_the_check_says_how_it_went(experiment: Experiment) -> None:
    failed = scaled(experiment)
    screen(failed)
    cast.move(failed, *cast.ahead(failed, *cast.TO_TRAINING, Status.FAILED), reason="it diverged")
    again = scaled(experiment, parent=other_parent(experiment))
    assert screen(again) == Status.SCREENED
    assert again.nearest == failed
    assert again.checks.get(name="new").detail == (
        f"no earlier variant has this code; nearest: v{failed.number}, failed in the sandbox by its own fault "
        "(100 % alike)"
    )


def test_a_return_is_counted_once_even_when_screening_is_killed_in_between(experiment: Experiment) -> None:
    vetoed(experiment)
    again = scaled(experiment, parent=other_parent(experiment))
    stale = Variant.objects.get(pk=again.pk)
    screen(again)
    stale.checks.filter(name="new").delete()
    assert screen(stale) == Status.DUPLICATE
    assert Event.objects.filter(kind="veto.returned").count() == 1
