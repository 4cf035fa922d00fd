"""The state machine: the table of legal moves and the one door through which a variant's status changes."""

from typing import Any

from django.db import transaction
from django.utils import timezone

from evolution import live
from evolution.errors import StaleTransition
from evolution.memory import remember
from evolution.models import Status, Transition, Variant

S = Status

NEXT: dict[Status, frozenset[Status]] = {
    S.DRAFTED: frozenset({S.SCREENED, S.DUPLICATE, S.STILLBORN, S.CANCELLED}),
    S.SCREENED: frozenset({S.CHECKED, S.STILLBORN, S.CANCELLED}),
    S.CHECKED: frozenset({S.IN_REVIEW, S.APPROVED, S.CANCELLED}),
    S.IN_REVIEW: frozenset({S.APPROVED, S.VETOED, S.SUPERSEDED, S.CANCELLED}),
    S.APPROVED: frozenset({S.TRAINING, S.IN_REVIEW, S.CANCELLED}),
    S.TRAINING: frozenset({S.MEASURED, S.FAILED, S.REJECTED, S.APPROVED, S.CANCELLED}),
    S.MEASURED: frozenset({S.SURVIVED, S.CULLED}),
    S.SURVIVED: frozenset({S.CULLED}),
    S.CULLED: frozenset({S.SURVIVED}),
    S.VETOED: frozenset({S.APPROVED}),
    S.CANCELLED: frozenset({S.APPROVED}),
    S.DUPLICATE: frozenset(),
    S.STILLBORN: frozenset(),
    S.SUPERSEDED: frozenset(),
    S.FAILED: frozenset(),
    S.REJECTED: frozenset(),
}

# Nothing more happens to these until selection, or ever.
ENDED = frozenset({
    S.MEASURED, S.SURVIVED, S.CULLED, S.VETOED, S.CANCELLED, S.DUPLICATE, S.STILLBORN, S.SUPERSEDED, S.FAILED,
    S.REJECTED,
})

# Who looks at a variant of this status next.
STATION = {
    S.DRAFTED: live.EVOLUTION,
    S.SCREENED: live.SANDBOX,
    S.CHECKED: live.REVIEW,
    S.IN_REVIEW: live.REVIEW,
    S.APPROVED: live.SANDBOX,
}


@transaction.atomic
def advance(variant: Variant, new: Status, *, actor: str, reason: str = "", **numbers: Any) -> None:
    """Move `variant` to `new`, or raise StaleTransition if somebody else moved it first.

    `numbers` are further fields of the row (what the judge measured), written in the same UPDATE.
    """
    old = Status(variant.status)
    if new not in NEXT[old]:
        raise StaleTransition(f"v{variant.number} is {old.label}: it cannot become “{new.label}”.")
    # The WHERE clause is the lock: of two racing callers one updates no row.
    moved = Variant.objects.filter(pk=variant.pk, status=old).update(
        status=new, reason=reason, changed_at=timezone.now(), **numbers
    )
    if not moved:
        raise StaleTransition(f"v{variant.number} is no longer {old.label}: reload the page.")
    Transition.objects.create(variant=variant, old=old, new=new, actor=actor, reason=reason)
    for field, value in {"status": new, "reason": reason, **numbers}.items():
        setattr(variant, field, value)
    remember(variant.experiment, "variant.moved", actor=actor, variant=variant, data={
        "variant": variant.number, "old": old.value, "new": new.value, "reason": reason, **numbers,
    })
    live.wake(STATION.get(new, live.EVOLUTION))
