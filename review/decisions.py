"""The verbs of a reviewer: accept, edit, veto, undo, withdraw; and the moment in which a verdict takes effect.

Every verb locks the variant's row first (SQLite locks the whole database instead), so that of two people who decide at
the same time one is refused, and an undo either comes before the effect or not at all. `Decision.turn` is unique per
variant: were a lock ever missing, the database would still refuse the second.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from evolution import live
from evolution.confined import Unparsable, confined
from evolution.drafting import draft
from evolution.errors import BadInput, Refused, StaleTransition
from evolution.genomes import store_of
from evolution.lifecycle import advance
from evolution.memory import remember
from evolution.models import Kind, Status, Variant
from review.models import Decision, Verdict, VetoReason

log = logging.getLogger(__name__)

EFFECT = {Verdict.ACCEPT: Status.APPROVED, Verdict.VETO: Status.VETOED, Verdict.EDIT: Status.SUPERSEDED}
NOT_YET_TRAINED = (Status.DRAFTED, Status.SCREENED, Status.CHECKED, Status.IN_REVIEW, Status.APPROVED)


def shown_hash(variant: Variant) -> str:
    """sha256 of all a verdict is about: base, code, difference, image, data and budget."""
    experiment = variant.experiment
    base = variant.parent.commit if variant.parent else ""
    shown = {
        "base": base,
        "commit": variant.commit,
        "diff": store_of(experiment).diff(base, variant.commit) if base else "",
        "image": experiment.image,
        "data": experiment.data_sha256,
        "budget": [experiment.budget_tokens, experiment.budget_seconds],
    }
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def accept(variant: Variant, *, reviewer: User, shown: str) -> Decision:
    """Approve `variant` as it was shown, ten seconds from now; Refused when it changed or somebody was faster."""
    with _turn(variant), transaction.atomic():
        fresh = _open(variant, shown)
        return _decide(fresh, Verdict.ACCEPT, reviewer=reviewer, shown=shown)


def veto(variant: Variant, *, reviewer: User, shown: str, category: str, reason: str) -> Decision:
    """Turn `variant` down, for a reason of the short list and a text of one's own; Refused as for accept."""
    if category not in VetoReason.values:
        raise BadInput("A veto needs a reason: choose one from the list.")
    if category == VetoReason.OTHER and not reason.strip():
        raise BadInput("“Another reason” needs a text: write which.")
    with _turn(variant), transaction.atomic():
        fresh = _open(variant, shown)
        return _decide(
            fresh, Verdict.VETO, reviewer=reviewer, shown=shown, category=category, reason=reason.strip()[:2000]
        )


def edit(variant: Variant, *, reviewer: User, shown: str, files: Mapping[str, str]) -> Decision:
    """Replace `variant` by a child with the reviewer's `files` (path -> whole text), which is checked at once.

    Refused as for accept; BadInput when nothing was changed or a file is no valid Python; PatchRefused for a path that
    may not be touched.
    """
    _parse(files)
    with _turn(variant), transaction.atomic():
        fresh = _open(variant, shown)
        before = store_of(fresh.experiment).files(fresh.commit)
        after = {**before, **{path: text.encode() for path, text in files.items()}}
        if after == before:
            raise BadInput(f"You changed nothing in #{fresh.number}: accept it as it is.")
        replacement = draft(
            fresh.experiment, parent=fresh, files=after, kind=Kind.EDIT, author=f"user:{reviewer.get_username()}",
            title=f"edit of {fresh.title}"[:200], hypothesis=fresh.hypothesis, rationale=fresh.rationale,
            expected=fresh.expected, generation=fresh.generation, proposer=fresh.proposer,
        )
        return _decide(fresh, Verdict.EDIT, reviewer=reviewer, shown=shown, replacement=replacement)


def undo(decision: Decision, *, reviewer: User) -> Decision:
    """Take `decision` back before it takes effect; an undone edit calls its replacement off. Refused when too late."""
    with _turn(decision.variant), transaction.atomic():
        variant = _locked(decision.variant)
        if not Decision.objects.live().filter(pk=decision.pk).exists():
            raise Refused(f"The decision on #{variant.number} was undone already: reload the page.")
        if timezone.now() >= decision.effective_at or variant.status != Status.IN_REVIEW:
            raise Refused(f"The decision on #{variant.number} has taken effect: it can't be undone any more.")
        if decision.replacement is not None:
            _call_off(decision.replacement, actor=f"user:{reviewer.get_username()}")
        return _take_back(decision, reviewer=reviewer)


def withdraw(variant: Variant, *, reviewer: User) -> Decision:
    """Bring an approved variant that has not started back into review; Refused or StaleTransition when too late."""
    with _turn(variant), transaction.atomic():
        fresh = _locked(variant)
        if fresh.status != Status.APPROVED or fresh.kind == Kind.BASELINE:
            label = Status(fresh.status).label
            raise Refused(f"v{fresh.number} is {label}: only an approval that hasn't started can be withdrawn.")
        standing = Decision.objects.live().filter(variant=fresh).first()
        if standing is None:
            raise Refused(f"Nobody's decision approved v{fresh.number}: there is none to withdraw.")
        advance(fresh, Status.IN_REVIEW, actor=f"user:{reviewer.get_username()}", reason="the approval was withdrawn")
        return _take_back(standing, reviewer=reviewer)


def settle_due(now: datetime | None = None) -> int:
    """Let every decision whose undo window is over take effect; how many did. Any number of callers may race."""
    due = Decision.objects.live().filter(
        effective_at__lte=now or timezone.now(), variant__status=Status.IN_REVIEW
    ).select_related("variant")
    return sum(_settle_safely(decision) for decision in due)


def next_due(now: datetime) -> datetime | None:
    """When the next standing decision takes effect, of those whose undo window was not over `now`."""
    waiting = Decision.objects.live().filter(variant__status=Status.IN_REVIEW, effective_at__gt=now)
    return waiting.order_by("effective_at").values_list("effective_at", flat=True).first()


def decide_by_rule(variant: Variant, *, rule: str) -> Decision:
    """Approve a checked variant because `rule` says so. StaleTransition when somebody moved it first."""
    with transaction.atomic():
        fresh = _locked(variant)
        decision = _decide(fresh, Verdict.ACCEPT, rule=rule, shown=shown_hash(fresh))
        advance(fresh, Status.APPROVED, actor=decision.author, reason=rule)
        return decision


def approve_replacement(variant: Variant, *, edited: Decision) -> Decision:
    """Bind the approval of an edit that took effect to the hash of the variant it made, which passed its checks."""
    with transaction.atomic():
        fresh = _locked(variant)
        reason = f"edit of #{edited.variant.number}"
        decision = _decide(
            fresh, Verdict.ACCEPT, reviewer=edited.reviewer, rule=edited.rule, shown=shown_hash(fresh), reason=reason,
            at_once=True,
        )
        advance(fresh, Status.APPROVED, actor=decision.author, reason=reason)
        return decision


def _settle_safely(decision: Decision) -> bool:
    try:
        return _settle(decision)
    except StaleTransition:
        return False
    except Exception:
        log.exception("the decision on %s of %s could not take effect", decision.variant, decision.variant.experiment)
        return False


@transaction.atomic
def _settle(decision: Decision) -> bool:
    variant = _locked(decision.variant)
    if variant.status != Status.IN_REVIEW or not Decision.objects.live().filter(pk=decision.pk).exists():
        return False
    if shown_hash(variant) != decision.shown_sha256:
        _take_back(decision, rule="it changed after it was shown")
        return False
    advance(variant, EFFECT[Verdict(decision.verdict)], actor=decision.author, reason=_because(decision))
    return True


def _because(decision: Decision) -> str:
    if decision.verdict == Verdict.VETO:
        label = VetoReason(decision.category).label
        return f"{label}: {decision.reason}" if decision.reason else label
    if decision.replacement is not None:
        return f"replaced by #{decision.replacement.number}"
    return "accepted"


class _turn:  # noqa: N801 reads as `with _turn(variant)`
    """Turns the database's refusal of a second decision for one turn into the sentence a person should read."""

    def __init__(self, variant: Variant) -> None:
        self.number = variant.number

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, IntegrityError):
            raise Refused(f"Somebody else decided on #{self.number} at the same moment: reload the page.") from error


def _locked(variant: Variant) -> Variant:
    return (
        Variant.objects.select_for_update(of=("self",))
        .select_related("experiment", "parent", "generation")
        .get(pk=variant.pk)
    )


def _open(variant: Variant, shown: str) -> Variant:
    """The locked row, if it still waits for a verdict on what was `shown`."""
    fresh = _locked(variant)
    if fresh.experiment.is_over:
        ended = fresh.experiment.get_status_display()
        raise Refused(f"{fresh.experiment.name} is {ended}: nothing is decided in it any more.")
    standing = Decision.objects.live().filter(variant=fresh).select_related("reviewer").first()
    if standing is not None:
        verdict = Verdict(standing.verdict).label
        raise Refused(f"#{fresh.number} was {verdict} by {standing.author.partition(':')[2]} already: reload the page.")
    if fresh.status != Status.IN_REVIEW:
        raise Refused(f"#{fresh.number} is {Status(fresh.status).label}: there is nothing to decide, reload the page.")
    if shown_hash(fresh) != shown:
        raise Refused(f"#{fresh.number} changed since you opened it: reload the page and look again.")
    return fresh


def _decide(
    variant: Variant, verdict: Verdict, *, shown: str, reviewer: User | None = None, rule: str = "",
    category: str = "", reason: str = "", replacement: Variant | None = None, at_once: bool = False,
) -> Decision:
    window = settings.DARWIN_UNDO_SECONDS if reviewer is not None and not at_once else 0.0
    decision = Decision.objects.create(
        variant=variant, turn=_next_turn(variant), reviewer=reviewer, rule=rule, verdict=verdict, category=category,
        reason=reason, shown_sha256=shown, replacement=replacement,
        effective_at=timezone.now() + timedelta(seconds=window),
    )
    _record(decision)
    if window:
        # A little late rather than a little early: early would have to wait for the next look around.
        live.wake(live.REVIEW, after=window + 0.02)
    return decision


def _take_back(decision: Decision, *, reviewer: User | None = None, rule: str = "") -> Decision:
    taken = Decision.objects.create(
        variant=decision.variant, turn=_next_turn(decision.variant), reviewer=reviewer, rule=rule,
        verdict=Verdict.UNDO, undoes=decision, shown_sha256=decision.shown_sha256, effective_at=timezone.now(),
    )
    _record(taken)
    return taken


def _next_turn(variant: Variant) -> int:
    return Decision.objects.filter(variant=variant).count() + 1


def _record(decision: Decision) -> None:
    remember(decision.variant.experiment, "decision.made", actor=decision.author, variant=decision.variant, data={
        "variant": decision.variant.number,
        "verdict": decision.verdict,
        "category": decision.category,
        "reason": decision.reason,
        "reviewer": decision.reviewer.get_username() if decision.reviewer else "",
        "rule": decision.rule,
        "shown_sha256": decision.shown_sha256,
        "replacement": decision.replacement.number if decision.replacement else None,
        "undoes": decision.undoes.verdict if decision.undoes else None,
    })


def _call_off(replacement: Variant, *, actor: str) -> None:
    fresh = _locked(replacement)
    if fresh.status in NOT_YET_TRAINED:
        advance(fresh, Status.CANCELLED, actor=actor, reason="the edit was undone")


def _parse(files: Mapping[str, str]) -> None:
    """BadInput when an edited file is no valid Python, before a variant is made of it."""
    for path, text in files.items():
        if not path.endswith(".py"):
            continue
        try:
            confined("flags", {"files": {path: {"before": None, "after": text}}, "strict": True})
        except Unparsable as error:
            raise BadInput(f"Your edit can't be read: {error}") from error
