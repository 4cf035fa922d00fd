from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from evolution.errors import BadInput, PatchRefused, Refused
from evolution.experiments import stop
from evolution.genomes import store_of
from evolution.models import Event, Experiment, Kind, Status, Variant
from review.decisions import accept, edit, next_due, settle_due, shown_hash, undo, veto, withdraw
from review.models import Decision
from tests import cast

S = Status


def fresh(variant: Variant) -> Variant:
    return Variant.objects.select_related("experiment", "parent").get(pk=variant.pk)


def edited(variant: Variant) -> dict[str, str]:
    text = store_of(variant.experiment).files(variant.commit)["train.py"].decode()
    return {"train.py": text.replace("batch_size = 8", "batch_size = 4")}


def test_an_accepted_proposal_is_approved_when_the_undo_window_is_over(
    proposal: Variant, rita: User, shown: str, later: datetime
) -> None:
    accept(proposal, reviewer=rita, shown=shown)
    assert settle_due() == 0
    assert fresh(proposal).status == S.IN_REVIEW
    assert settle_due(later) == 1
    assert fresh(proposal).status == S.APPROVED
    assert proposal.transitions.last().actor == "user:rita"  # type: ignore[union-attr]


def test_settling_twice_changes_nothing(proposal: Variant, rita: User, shown: str, later: datetime) -> None:
    accept(proposal, reviewer=rita, shown=shown)
    assert (settle_due(later), settle_due(later)) == (1, 0)


def test_a_veto_carries_its_reason_to_the_variant_and_the_memory(
    proposal: Variant, rita: User, shown: str, later: datetime
) -> None:
    veto(proposal, reviewer=rita, shown=shown, category="breaks", reason="no warm-up")
    settle_due(later)
    assert (fresh(proposal).status, fresh(proposal).reason) == (S.VETOED, "will not train: no warm-up")
    event = Event.objects.get(kind="decision.made", variant=proposal)
    assert event.data["category"] == "breaks"
    assert event.data["reason"] == "no warm-up"
    assert event.data["shown_sha256"] == shown
    assert event.data["reviewer"] == "rita"


def test_a_veto_keeps_the_parent_alive(proposal: Variant, rita: User, shown: str, later: datetime) -> None:
    veto(proposal, reviewer=rita, shown=shown, category="known", reason="")
    settle_due(later)
    assert proposal.parent is not None
    assert fresh(proposal.parent).status == S.SURVIVED


@pytest.mark.parametrize(("category", "reason"), [("", ""), ("nonsense", "x"), ("other", "  ")])
def test_a_veto_needs_a_reason(proposal: Variant, rita: User, shown: str, category: str, reason: str) -> None:
    with pytest.raises(BadInput):
        veto(proposal, reviewer=rita, shown=shown, category=category, reason=reason)
    assert not Decision.objects.filter(variant=proposal).exists()


def test_an_edit_makes_a_child_at_once_and_supersedes_the_original_later(
    proposal: Variant, rita: User, shown: str, later: datetime
) -> None:
    decision = edit(proposal, reviewer=rita, shown=shown, files=edited(proposal))
    child = decision.replacement
    assert child is not None
    assert (child.parent, child.kind, child.author) == (proposal, Kind.EDIT, "user:rita")
    assert (child.generation, child.hypothesis) == (proposal.generation, proposal.hypothesis)
    assert child.title == f"edit of {proposal.title}"
    settle_due(later)
    assert fresh(proposal).status == S.SUPERSEDED
    assert fresh(child).status == S.DRAFTED


def test_an_edit_that_changes_nothing_is_refused(proposal: Variant, rita: User, shown: str) -> None:
    same = {"train.py": store_of(proposal.experiment).files(proposal.commit)["train.py"].decode()}
    with pytest.raises(BadInput, match="changed nothing"):
        edit(proposal, reviewer=rita, shown=shown, files=same)


def test_an_edit_that_is_no_python_names_the_line(proposal: Variant, rita: User, shown: str) -> None:
    with pytest.raises(BadInput, match=r"train\.py:2"):
        edit(proposal, reviewer=rita, shown=shown, files={"train.py": "x = 1\ny = (\n"})


def test_an_edit_may_not_touch_the_manifest(proposal: Variant, rita: User, shown: str) -> None:
    with pytest.raises(PatchRefused):
        edit(proposal, reviewer=rita, shown=shown, files={"genome.toml": "name = 'mine'\n"})
    assert not Decision.objects.filter(variant=proposal).exists()


def test_an_undone_decision_has_no_effect_and_another_may_follow(
    proposal: Variant, rita: User, shown: str, later: datetime
) -> None:
    undo(accept(proposal, reviewer=rita, shown=shown), reviewer=rita)
    assert settle_due(later) == 0
    veto(proposal, reviewer=rita, shown=shown, category="costly", reason="")
    settle_due(later)
    assert fresh(proposal).status == S.VETOED
    assert [one.verdict for one in proposal.decisions.all()] == ["accept", "undo", "veto"]


def test_an_undone_edit_calls_its_replacement_off(proposal: Variant, rita: User, shown: str) -> None:
    decision = edit(proposal, reviewer=rita, shown=shown, files=edited(proposal))
    undo(decision, reviewer=rita)
    assert decision.replacement is not None
    assert fresh(decision.replacement).status == S.CANCELLED
    assert fresh(proposal).status == S.IN_REVIEW


def test_a_decision_is_undone_only_once(proposal: Variant, rita: User, shown: str) -> None:
    decision = accept(proposal, reviewer=rita, shown=shown)
    undo(decision, reviewer=rita)
    with pytest.raises(Refused, match="undone already"):
        undo(decision, reviewer=rita)


def test_an_undo_after_the_window_is_refused(proposal: Variant, rita: User, shown: str, settings: Settings) -> None:
    settings.DARWIN_UNDO_SECONDS = 0
    decision = accept(proposal, reviewer=rita, shown=shown)
    with pytest.raises(Refused, match="has taken effect"):
        undo(decision, reviewer=rita)


def test_an_approval_that_has_not_started_can_be_withdrawn_and_does_not_come_back(
    proposal: Variant, rita: User, shown: str, later: datetime
) -> None:
    accept(proposal, reviewer=rita, shown=shown)
    settle_due(later)
    withdraw(proposal, reviewer=rita)
    assert settle_due(later) == 0
    assert fresh(proposal).status == S.IN_REVIEW


def test_what_has_started_cannot_be_withdrawn(proposal: Variant, rita: User, shown: str, later: datetime) -> None:
    accept(proposal, reviewer=rita, shown=shown)
    settle_due(later)
    cast.move(fresh(proposal), S.TRAINING, actor="sandbox")
    with pytest.raises(Refused, match="running in a sandbox"):
        withdraw(proposal, reviewer=rita)


def test_a_decision_on_something_that_changed_is_refused(proposal: Variant, rita: User, shown: str) -> None:
    Experiment.objects.update(image="sha256:another")
    with pytest.raises(Refused, match="changed since you opened it: reload"):
        accept(proposal, reviewer=rita, shown=shown)


def test_a_decision_does_not_take_effect_when_what_was_shown_changed_meanwhile(
    proposal: Variant, rita: User, shown: str, later: datetime
) -> None:
    accept(proposal, reviewer=rita, shown=shown)
    Experiment.objects.update(budget_tokens=1)
    assert settle_due(later) == 0
    assert fresh(proposal).status == S.IN_REVIEW
    assert [one.verdict for one in proposal.decisions.all()] == ["accept", "undo"]


@pytest.mark.parametrize("field", ["image", "data_sha256", "budget_tokens", "budget_seconds"])
def test_the_hash_covers_what_a_trial_depends_on(proposal: Variant, shown: str, field: str) -> None:
    Experiment.objects.update(**{field: 7})
    assert shown_hash(fresh(proposal)) != shown


def test_a_second_decision_is_refused_and_names_who_was_first(proposal: Variant, rita: User, shown: str) -> None:
    accept(proposal, reviewer=rita, shown=shown)
    with pytest.raises(Refused, match="accepted by rita already"):
        veto(proposal, reviewer=cast.person("ben"), shown=shown, category="known", reason="")


def test_only_what_is_in_review_can_be_decided(experiment: Experiment, rita: User) -> None:
    drafted = cast.mutation(experiment, rate=9.0)
    with pytest.raises(Refused, match="nothing to decide"):
        accept(drafted, reviewer=rita, shown=shown_hash(drafted))


def test_nothing_is_decided_in_an_experiment_that_is_over(proposal: Variant, rita: User, shown: str) -> None:
    stop(proposal.experiment, actor="user:olivia", reason="enough")
    with pytest.raises(Refused):
        accept(fresh(proposal), reviewer=rita, shown=shown)


def test_the_next_wake_up_is_the_end_of_the_first_open_window(proposal: Variant, rita: User, shown: str) -> None:
    now = timezone.now()
    decision = accept(proposal, reviewer=rita, shown=shown)
    assert next_due(now) == decision.effective_at
    assert next_due(decision.effective_at + timedelta(seconds=1)) is None
