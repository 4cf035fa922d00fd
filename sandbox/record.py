"""What the sandbox knows of a variant, for its document in the memory: trials, attempts and claimed curves."""

from typing import Any

from django.utils import timezone

from evolution import rows
from evolution.documents import SECTIONS, Cast, Section
from evolution.models import Variant
from sandbox.models import Attempt, AttemptState, Point, Trial
from trainer.contract import Cause

POINTS = 500  # claimed points kept per trial: a curve on a page needs no more
LEASE = ("fence", "lease_owner", "lease_expires", "heartbeat_at", "progress_at", "container", "progress", "log_tail")


def trials(variant: Variant) -> list[dict[str, Any]]:
    return [
        {
            **rows.record(trial),
            "attempts": [rows.record(one, leave=_leave(one)) for one in trial.attempts.all()],
            "claimed": _thin([rows.record(one) for one in trial.points.all()]) if trial.ended_at else [],
        }
        for trial in Trial.objects.filter(variant=variant)
    ]


def read_trials(variant: Variant, recorded: list[dict[str, Any]] | None, _: Cast) -> None:
    for one in recorded or ():
        trial = rows.insert(Trial(variant=variant, **rows.values(Trial, one)))
        for attempt in one["attempts"]:
            rows.insert(Attempt(trial=trial, **_ended(rows.values(Attempt, attempt))))
        Point.objects.bulk_create(Point(trial=trial, **rows.values(Point, point)) for point in one["claimed"])


def _leave(attempt: Attempt) -> tuple[str, ...]:
    """A lease changes every few seconds and means nothing to another process: it is no memory."""
    return () if attempt.state == AttemptState.ENDED else LEASE


def _ended(attempt: dict[str, Any]) -> dict[str, Any]:
    """Nobody runs a restored attempt: it was interrupted, and its trial is tried again."""
    if attempt["state"] == AttemptState.ENDED:
        return attempt
    return {**attempt, "state": AttemptState.ENDED, "cause": Cause.INTERRUPTED, "ended_at": timezone.now()}


def _thin(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most POINTS of `points`, evenly, the last one always."""
    step = -(-len(points) // POINTS) or 1
    return points[::-1][::step][::-1]


def join() -> None:
    """Add our section to every document."""
    SECTIONS["trials"] = Section(trials, read_trials)
