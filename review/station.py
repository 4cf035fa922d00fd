"""The review station: due decisions take effect, then checked variants move on."""

from datetime import datetime

from django.utils import timezone

from evolution import live
from review.admission import admit
from review.decisions import next_due, settle_due

SOON = 3.5  # seconds: a little more than the time between two looks around


def work() -> None:
    """One look around. Idempotent; any number may run at once."""
    now = timezone.now()
    settle_due(now)
    admit()
    _ring_at_the_next(now)


def _ring_at_the_next(now: datetime) -> None:
    """Wake up exactly when the next undo window ends, even if the call that its decision ordered was lost."""
    due = next_due(now)
    if due is None:
        return
    seconds = (due - timezone.now()).total_seconds()
    if seconds < SOON:
        live.wake(live.REVIEW, after=max(seconds, 0) + 0.02)
