"""What becomes of a variant that passed its checks: to a person, or on to the sandbox because a rule says so."""

import logging

from evolution.errors import StaleTransition
from evolution.lifecycle import advance
from evolution.models import Kind, ReviewMode, Status, Variant
from review import policies
from review.decisions import approve_replacement, decide_by_rule
from review.evidence import evidence_of
from review.models import Decision, Verdict

log = logging.getLogger(__name__)


def admit() -> int:
    """Move every checked variant on, by the review mode of its experiment; how many moved. Callers may race."""
    inbox = Variant.objects.filter(status=Status.CHECKED).select_related("experiment", "parent", "generation")
    return sum(_admit_safely(variant) for variant in inbox)


def _admit_safely(variant: Variant) -> bool:
    try:
        return _admit(variant)
    except StaleTransition:
        return False
    except Exception:
        log.exception("could not admit %s of %s", variant, variant.experiment)
        return False


def _admit(variant: Variant) -> bool:
    if variant.kind == Kind.BASELINE:
        decide_by_rule(variant, rule="baseline")
        return True
    edited = Decision.objects.filter(replacement=variant, verdict=Verdict.EDIT).select_related("variant").first()
    if edited is not None:
        return _admit_replacement(variant, edited)
    if rule := _rule(variant):
        decide_by_rule(variant, rule=rule)
    else:
        evidence_of(variant)  # before anybody looks, so that the queue can be sorted by risk
        advance(variant, Status.IN_REVIEW, actor="system", reason="")
    return True


def _rule(variant: Variant) -> str | None:
    mode = variant.experiment.review
    if mode == ReviewMode.AUTO:
        return "auto"
    if mode == ReviewMode.POLICY:
        return policies.rule_for(variant, evidence_of(variant))
    return None


def _admit_replacement(variant: Variant, edited: Decision) -> bool:
    """A reviewer's edit follows its decision: approved once that took effect, never before, cancelled when undone."""
    if not Decision.objects.live().filter(pk=edited.pk).exists():
        advance(variant, Status.CANCELLED, actor="system", reason="the edit was undone")
        return True
    # The original's status says it, not the clock: an undo and the effect exclude each other on its row.
    if edited.variant.status != Status.SUPERSEDED:
        return False
    approve_replacement(variant, edited=edited)
    return True
