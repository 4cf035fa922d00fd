"""What stands beside the diff: flags, risk, and the nearest earlier attempt. Read once, kept, never recomputed."""

import re
from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction

from evolution.confined import Unparsable, confined
from evolution.genomes import Store, store_of
from evolution.models import Kind, Status, Variant
from review.models import Evidence, Risk

LARGE_LINES = 30  # above, the risk is at least medium whatever the flags say
COMPARED = 80  # earlier attempts the diff is compared with
ALIKE = 0.2  # share of the changed lines from which on two attempts are called similar


def evidence_of(variant: Variant) -> Evidence:
    """The evidence of `variant`, gathered now if nobody did before."""
    known = Evidence.objects.filter(variant=variant).select_related("nearest").first()
    if known is not None:
        return known
    flags = read_flags(variant)
    nearest, similarity = nearest_attempt(variant)
    try:
        with transaction.atomic():
            return Evidence.objects.create(
                variant=variant, flags=flags, risk=risk_of(flags, variant.lines_changed), nearest=nearest,
                similarity=similarity,
            )
    except IntegrityError:  # another worker was faster, and found the same
        return Evidence.objects.get(variant=variant)


def risk_of(flags: list[dict[str, Any]], lines: int) -> Risk:
    levels = {flag["level"] for flag in flags}
    if "high" in levels:
        return Risk.HIGH
    return Risk.MEDIUM if "med" in levels or lines > LARGE_LINES else Risk.LOW


def read_flags(variant: Variant) -> list[dict[str, Any]]:
    """What the syntax trees of the changed files say; code that can't be read is a flag of its own."""
    if variant.parent is None:
        return []
    store = store_of(variant.experiment)
    changed = _changed(store.files(variant.parent.commit), store.files(variant.commit))
    if not changed:
        return []
    try:
        found: list[dict[str, Any]] = confined("flags", {"files": changed})["flags"]
    except Unparsable as error:
        return [{"kind": "unreadable", "level": "high", "path": min(changed), "line": 1, "text": str(error)}]
    return found


def nearest_attempt(variant: Variant) -> tuple[Variant | None, float | None]:
    """The earlier attempt most like `variant`, as screening found it among all of them (evolution/novelty.py).

    A change that has no sketch is compared here, line by line and with the latest: the same built-in operator's first.
    """
    if variant.parent is None:
        return None, None
    if variant.shingles:
        return variant.nearest, variant.similarity
    store = store_of(variant.experiment)
    mine = changed_text(store, variant)
    earlier = (
        variant.experiment.variants.filter(number__lt=variant.number)
        .exclude(kind__in=[Kind.BASELINE, Kind.EDIT]).exclude(pk=variant.parent.pk).exclude(status=Status.DUPLICATE)
        .select_related("parent", "experiment").order_by("-number")[:COMPARED]
    )
    scored = [(_alike(mine, changed_text(store, one)), one) for one in earlier]
    same = [pair for pair in scored if variant.author.startswith("operator:") and pair[1].author == variant.author]
    best = max(same or scored, key=lambda pair: (pair[0], pair[1].number), default=None)
    if best is None or (not same and best[0] < ALIKE):
        return None, None
    return best[1], round(best[0], 3)


def changed_text(store: Store, variant: Variant) -> frozenset[str]:
    """The changed lines of `variant`, signs kept, white space taken out."""
    if variant.parent is None:
        return frozenset()
    lines = store.diff(variant.parent.commit, variant.commit).splitlines()
    changed = (line[0] + re.sub(r"\s+", "", line[1:]) for line in lines if line[:1] in ("+", "-"))
    return frozenset(line for line in changed if len(line) > 1 and not line.startswith(("+++", "---")))


def _alike(first: frozenset[str], second: frozenset[str]) -> float:
    """Jaccard's index of two sets of changed lines."""
    return len(first & second) / len(first | second) if first | second else 0.0


def _changed(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> dict[str, dict[str, str | None]]:
    paths = [path for path in sorted({*before, *after}) if before.get(path) != after.get(path)]
    return {path: {"before": _text(before.get(path)), "after": _text(after.get(path))} for path in paths}


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="replace")
