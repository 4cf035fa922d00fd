"""What review knows of a variant, for its document in the memory: the decisions and the evidence."""

from typing import Any

from evolution import rows
from evolution.documents import SECTIONS, Cast, Section
from evolution.models import Variant
from review.models import Decision, Evidence


def decisions(variant: Variant) -> list[dict[str, Any]]:
    return [
        {
            **rows.record(one),
            "reviewer": one.reviewer.get_username() if one.reviewer else None,
            "replacement": one.replacement.number if one.replacement else None,
            "undoes": one.undoes.turn if one.undoes else None,
        }
        for one in Decision.objects.filter(variant=variant).order_by("turn")
    ]


def read_decisions(variant: Variant, recorded: list[dict[str, Any]] | None, cast: Cast) -> None:
    turns: dict[int, Decision] = {}
    for one in recorded or ():
        turns[one["turn"]] = rows.insert(Decision(
            variant=variant,
            reviewer=cast.person(one["reviewer"]) if one["reviewer"] else None,
            replacement=cast.variants[one["replacement"]] if one["replacement"] is not None else None,
            undoes=turns[one["undoes"]] if one["undoes"] is not None else None,
            **rows.values(Decision, one),
        ))


def evidence(variant: Variant) -> dict[str, Any] | None:
    one = Evidence.objects.filter(variant=variant).first()
    if one is None:
        return None
    return {**rows.record(one), "nearest": one.nearest.number if one.nearest else None}


def read_evidence(variant: Variant, recorded: dict[str, Any] | None, cast: Cast) -> None:
    if recorded is not None:
        nearest = cast.variants[recorded["nearest"]] if recorded["nearest"] is not None else None
        rows.insert(Evidence(variant=variant, nearest=nearest, **rows.values(Evidence, recorded)))


def join() -> None:
    """Add our sections to every document."""
    SECTIONS["evidence"] = Section(evidence, read_evidence)
    SECTIONS["decisions"] = Section(decisions, read_decisions)
