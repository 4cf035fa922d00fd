"""What a proposal changes, which earlier change is most like it, and whether it is a vetoed idea that comes back.

Changes are compared, not programs: a sketch of the changed tokens (evolution/regions.py), so that an idea is
recognised on whatever parent it is tried.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from evolution.confined import Unparsable, confined
from evolution.corrections import revoked
from evolution.genomes import store_of
from evolution.memory import remember
from evolution.models import Kind, Status, Variant
from evolution.quoting import quoted
from evolution.regions import similarity

OPERATOR = "operator:"
RETURNED = "veto.returned"
# Calibrated on the built-in operators and the built-in genome (docs/memory.md, "Is it new?"): the same operator on two
# parents gives 1.00 in 972 of 975 cases, different operators at most 0.60.
SAME = 0.7  # from here on two changes are the same in substance
ALIKE = 0.2  # below, the nearest change is not worth a mention
BY_PEOPLE = (Kind.EDIT, Kind.PATCH)  # who brings a vetoed idea back by hand knows what they do


@dataclass(frozen=True)
class Neighbour:
    """An earlier change by the key of its variant, and how like it is, 0 … 1."""

    pk: int
    similarity: float


def describe(variant: Variant, files: Mapping[str, bytes]) -> None:
    """Write down what `variant` changed: family, regions and sketch. Nothing for a baseline or for unreadable code."""
    if variant.parent is None or variant.family:
        return
    before = store_of(variant.experiment).files(variant.parent.commit)
    paths = [path for path in sorted({*before, *files}) if before.get(path) != files.get(path)]
    try:
        found = confined("changed", {"files": {
            path: {"before": _text(before.get(path)), "after": _text(files.get(path))} for path in paths
        }})
    except Unparsable:
        return
    variant.family = _operator_family(variant.author) or found["family"]
    variant.regions, variant.shingles = found["regions"], found["shingles"]
    variant.save(update_fields=["family", "regions", "shingles"])


def nearest(variant: Variant) -> tuple[Neighbour | None, Neighbour | None]:
    """The most similar earlier change, and the most similar one that was vetoed and stands; None below ALIKE."""
    best: Neighbour | None = None
    veto: Neighbour | None = None
    earlier = variant.experiment.variants.filter(number__lt=variant.number).order_by("number")
    taken_back = revoked(variant.experiment)
    for pk, status, shingles in earlier.values_list("pk", "status", "shingles").iterator():
        alike = similarity(variant.shingles, shingles)
        if alike < ALIKE or status == Status.DUPLICATE:
            continue
        if best is None or alike >= best.similarity:  # of equals the newest
            best = Neighbour(pk, alike)
        if status == Status.VETOED and pk not in taken_back and (veto is None or alike >= veto.similarity):
            veto = Neighbour(pk, alike)
    return best, veto


def returned(variant: Variant) -> Variant | None:
    """The vetoed variant whose idea `variant` brings back unchanged in substance; writes down the nearest change."""
    best, veto = nearest(variant)
    same = veto if veto is not None and veto.similarity >= SAME and variant.kind not in BY_PEOPLE else None
    found = same or best
    variant.nearest = Variant.objects.get(pk=found.pk) if found else None
    variant.similarity = round(found.similarity, 3) if found else None
    variant.save(update_fields=["nearest", "similarity"])
    return variant.nearest if same else None


def count_return(variant: Variant, veto: Variant, *, alike: float | None) -> None:
    """Say once in the journal that the idea vetoed as `veto` came back as `variant`, `alike` (0 … 1) to it."""
    if not variant.events.filter(kind=RETURNED).exists():
        remember(variant.experiment, RETURNED, actor=variant.author, variant=variant, data={
            "variant": variant.number, "veto": veto.number, "similarity": alike,
        })


def told(variant: Variant) -> str:
    """The nearest earlier change in half a sentence, for the check's detail; empty where there is none."""
    if variant.nearest is None or variant.similarity is None:
        return ""
    near = variant.nearest
    return f"nearest: v{near.number}, {near.get_status_display()} ({100 * variant.similarity:.0f} % alike)"


def why_vetoed(veto: Variant) -> str:
    return f"vetoed as v{veto.number}{f' ({quoted(veto.reason)})' if veto.reason else ''}"


def _operator_family(author: str) -> str:
    return _family_of(author.removeprefix(OPERATOR)) if author.startswith(OPERATOR) else ""


@cache
def _family_of(operator: str) -> str:
    """Asked of the confined child, which is the only process that loads the operators."""
    return str(confined("family", {"operator": operator})["family"])


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8-sig", errors="replace")
