"""The JSON record: what is remembered in the transaction in which it happens, and what a brief is told of it."""

from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Any

from evolution import live
from evolution.models import Event, Experiment, Status, Variant
from evolution.storable import storable_data
from trainer.contract import Cause

SHORT = 200  # letters of a title, a reason or a finding in a sentence
MEASURED = (Status.MEASURED, Status.SURVIVED, Status.CULLED)


def remember(
    experiment: Experiment, kind: str, *, actor: str, data: dict[str, Any], variant: Variant | None = None
) -> Event:
    """Put one line into the outbox of the journal, and tell the pages once it is committed."""
    event = Event.objects.create(
        experiment=experiment, variant=variant, kind=kind, actor=actor, data=storable_data(data)
    )
    live.publish(experiment.pk, event=event.pk, kind=kind, variant=variant.number if variant else None)
    return event


def recall(experiment: Experiment, *, limit: int = 20) -> list[str]:
    """At most `limit` sentences for a brief: what helped, what people turned down, what failed, what hurt.

    The kinds take turns, each with the best or newest first. Nothing is quoted that came out of a sandbox or from
    the judge: a failure gives its cause from a fixed list, a rejection only that it was one.
    """
    variants = list(
        experiment.variants.filter(parent__isnull=False).select_related("parent").order_by("-number")
    )
    kinds = (_helped(variants), _vetoed(variants), _failed(variants), _hurt(variants), _repeated(variants))
    return [one for one in chain.from_iterable(zip_longest(*kinds)) if one is not None][:limit]


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


def _helped(variants: Iterable[Variant]) -> list[str]:
    better = [(ratio, one) for one in variants if (ratio := _ratio(one)) is not None and ratio < 1]
    return [_sentence(one, effect(one)) for _, one in sorted(better, key=lambda pair: pair[0])]


def _hurt(variants: Iterable[Variant]) -> list[str]:
    return [_sentence(one, effect(one)) for one in variants if (_ratio(one) or 0) >= 1]


def _vetoed(variants: Iterable[Variant]) -> list[str]:
    return [
        _sentence(one, f"was vetoed by a reviewer: {_short(one.reason)}" if one.reason else "was vetoed by a reviewer")
        for one in variants if one.status == Status.VETOED
    ]


def _failed(variants: Iterable[Variant]) -> list[str]:
    return [_sentence(one, said) for one in variants if (said := _failure(one))]


def _failure(variant: Variant) -> str:
    if variant.status == Status.REJECTED:
        return "was rejected"
    if variant.status == Status.FAILED:
        return f"failed in training: {_cause(variant) or 'the cause is not known'}"
    if variant.status == Status.STILLBORN:
        return f"did not pass the checks: {_finding(variant)}"
    return ""


def _cause(variant: Variant) -> str:
    """The cause of the last failed trial, from the contract's list and never in words of the variant's own."""
    ended = variant.events.filter(kind="trial.ended", data__verdict="failed").last()
    found = ended.data.get("cause") if ended else None
    return found if isinstance(found, str) and found in {cause.value for cause in Cause} else ""


def _finding(variant: Variant) -> str:
    """Which check failed. Checks that run no code say why; what ran in the sandbox gives a cause only."""
    failed = variant.checks.filter(passed=False).last()
    if failed is None:
        return "the cause is not known"
    cause = _cause(variant)
    if cause or variant.transitions.filter(new=Status.SCREENED).exists():
        return f"{failed.name} ({cause})" if cause else failed.name
    return f"{failed.name} ({_short(failed.detail)})" if failed.detail else failed.name


def _repeated(variants: Iterable[Variant]) -> list[str]:
    count = sum(one.status == Status.DUPLICATE for one in variants)
    if not count:
        return []
    said = "1 proposal was" if count == 1 else f"{count} proposals were"
    return [f"{said} code that had been there before: propose something new."]


def _sentence(variant: Variant, said: str) -> str:
    return f"v{variant.number} “{_short(variant.title)}” {said.rstrip('.')}."


def _short(text: str) -> str:
    """One line of at most SHORT letters."""
    line = " ".join(text.split())
    return line if len(line) <= SHORT else f"{line[:SHORT - 1]}…"
