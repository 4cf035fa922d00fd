from datetime import datetime

import pytest
from django.contrib.auth.models import User

from evolution.drafting import draft
from evolution.genomes import store_of
from evolution.models import Experiment, Generation, Kind, ReviewMode, Status, Variant
from review.admission import admit
from review.decisions import edit, settle_due, shown_hash, undo, withdraw
from review.models import Decision
from review.station import work
from tests import cast
from tests.review.test_decisions import edited, fresh

S = Status
CHECKED = (S.SCREENED, S.CHECKED)


def in_mode(experiment: Experiment, mode: ReviewMode) -> Experiment:
    experiment.review = mode
    experiment.save()
    return experiment


def test_a_person_decides_in_human_mode(experiment: Experiment) -> None:
    variant = cast.move(cast.mutation(experiment), *CHECKED)
    assert admit() == 1
    assert fresh(variant).status == S.IN_REVIEW
    assert not variant.decisions.exists()
    assert admit() == 0


def test_auto_mode_approves_with_a_decision_of_its_own(experiment: Experiment) -> None:
    variant = cast.move(cast.mutation(in_mode(experiment, ReviewMode.AUTO)), *CHECKED)
    work()
    assert fresh(variant).status == S.APPROVED
    decision = variant.decisions.get()
    assert (decision.rule, decision.reviewer, decision.shown_sha256) == ("auto", None, shown_hash(fresh(variant)))
    assert variant.transitions.last().actor == "rule:auto"  # type: ignore[union-attr]


def test_the_baseline_is_trained_in_every_mode(db: None) -> None:
    baseline = cast.experiment(owner=cast.person("olivia")).variants.get(number=0)
    cast.move(baseline, *CHECKED)
    work()
    assert fresh(baseline).status == S.APPROVED
    assert baseline.decisions.get().rule == "baseline"


def test_policy_mode_lets_the_small_and_harmless_pass(experiment: Experiment) -> None:
    variant = cast.move(cast.mutation(in_mode(experiment, ReviewMode.POLICY)), *CHECKED)
    work()
    assert fresh(variant).status == S.APPROVED
    assert variant.decisions.get().rule == "small and harmless"


@pytest.mark.parametrize("line", [b"import os\n", b"torch.manual_seed(4)\n", b"x = 1\n" * 40])
def test_policy_mode_asks_a_person_about_the_rest(experiment: Experiment, line: bytes) -> None:
    in_mode(experiment, ReviewMode.POLICY)
    variant = proposal_with(experiment, line)
    work()
    assert fresh(variant).status == S.IN_REVIEW


def proposal_with(experiment: Experiment, line: bytes) -> Variant:
    baseline = experiment.variants.get(number=0)
    files = store_of(experiment).files(baseline.commit)
    files["train.py"] = files["train.py"].replace(b"learning_rate", line + b"learning_rate", 1)
    variant = draft(
        experiment, parent=baseline, files=files, kind=Kind.MUTATION, author="agent:m", title="t",
        generation=Generation.objects.get(experiment=experiment, number=1),
    )
    return cast.move(variant, *CHECKED)


def replaced(proposal: Variant, rita: User, shown: str) -> tuple[Decision, Variant]:
    decision = edit(proposal, reviewer=rita, shown=shown, files=edited(proposal))
    assert decision.replacement is not None
    return decision, decision.replacement


def test_an_edit_is_approved_by_its_author_once_it_took_effect_and_not_before(
    proposal: Variant, rita: User, shown: str, later: datetime
) -> None:
    _, child = replaced(proposal, rita, shown)
    cast.move(fresh(child), *CHECKED)
    assert admit() == 0
    assert fresh(child).status == S.CHECKED
    settle_due(later)
    admit()
    assert fresh(child).status == S.APPROVED
    approval = child.decisions.get()
    assert (approval.reviewer, approval.shown_sha256) == (rita, shown_hash(fresh(child)))
    assert child.transitions.last().actor == "user:rita"  # type: ignore[union-attr]
    assert (approval.effective_at - approval.created_at).total_seconds() < 1


def test_an_undone_edit_is_never_admitted(proposal: Variant, rita: User, shown: str, later: datetime) -> None:
    decision, child = replaced(proposal, rita, shown)
    cast.move(fresh(child), *CHECKED)
    undo(decision, reviewer=rita)
    settle_due(later)
    admit()
    assert fresh(child).status == S.CANCELLED


def test_a_withdrawn_edit_waits_for_a_person_again(proposal: Variant, rita: User, shown: str, later: datetime) -> None:
    _, child = replaced(proposal, rita, shown)
    cast.move(fresh(child), *CHECKED)
    settle_due(later)
    admit()
    withdraw(fresh(child), reviewer=rita)
    work()
    assert fresh(child).status == S.IN_REVIEW


def test_a_damaged_experiment_does_not_hold_up_the_others(experiment: Experiment) -> None:
    broken = cast.move(cast.mutation(in_mode(experiment, ReviewMode.AUTO)), *CHECKED)
    Variant.objects.filter(pk=broken.pk).update(commit="0" * 40)
    other = cast.bred(cast.experiment("other", owner=cast.person("olivia"), review="auto"))
    healthy = cast.move(cast.mutation(other), *CHECKED)
    work()
    assert fresh(healthy).status == S.APPROVED
    assert fresh(broken).status == S.CHECKED
