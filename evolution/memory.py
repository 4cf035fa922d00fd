"""The JSON record: what is remembered, in the transaction in which it happens."""

from typing import Any

from evolution import live
from evolution.models import Event, Experiment, Variant


def remember(
    experiment: Experiment, kind: str, *, actor: str, data: dict[str, Any], variant: Variant | None = None
) -> Event:
    """Put one line into the outbox of the journal, and tell the pages once it is committed."""
    event = Event.objects.create(experiment=experiment, variant=variant, kind=kind, actor=actor, data=data)
    live.publish(experiment.pk, event=event.pk, kind=kind, variant=variant.number if variant else None)
    return event
