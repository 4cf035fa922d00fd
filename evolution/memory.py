"""The JSON record: what is remembered in the transaction in which it happens."""

from typing import Any

from evolution import live
from evolution.models import Event, Experiment, Status, Variant
from evolution.storable import storable, storable_data

MEASURED = (Status.MEASURED, Status.SURVIVED, Status.CULLED)

ACTOR = 200  # letters of a name


def remember(
    experiment: Experiment, kind: str, *, actor: str, data: dict[str, Any], variant: Variant | None = None
) -> Event:
    """Put one line into the outbox of the journal, and tell the pages once it is committed."""
    event = Event.objects.create(
        experiment=experiment, variant=variant, kind=kind, actor=storable(actor)[:ACTOR], data=storable_data(data)
    )
    live.publish(experiment.pk, event=event.pk, kind=kind, variant=variant.number if variant else None)
    return event


def effect(variant: Variant) -> str:
    """What the change did to the perplexity, against the parent; empty when one of the two was not measured."""
    ratio = _ratio(variant)
    if ratio is None or variant.parent is None:
        return ""
    verb = "lowered" if ratio < 1 else "raised" if ratio > 1 else "did not change"
    return (
        f"{verb} the perplexity: {variant.parent.perplexity:.4g} to {variant.perplexity:.4g} ({ratio - 1:+.1%}) "
        f"against v{variant.parent.number}"
    )


def _ratio(variant: Variant) -> float | None:
    parent = variant.parent
    if parent is None or not variant.perplexity or not parent.perplexity or variant.status not in MEASURED:
        return None
    return variant.perplexity / parent.perplexity
