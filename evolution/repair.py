"""What failed goes back to an agent: which variant, how often, and what is told of its failure."""

from collections.abc import Iterable

from evolution.agents.base import Failure
from evolution.genomes import Store
from evolution.models import Event, Generation, Kind, Status, Variant
from evolution.rounds import REFUSED

BROKEN = (Status.STILLBORN, Status.FAILED)
TRACEBACK = 2_000  # characters of the end
DIFF = 20_000


def next_one(generation: Generation) -> Variant | None:
    """The oldest variant of `generation` that failed by its own fault and may be tried to mend; None for none."""
    broken = generation.variants.filter(status__in=BROKEN, kind__in=(Kind.MUTATION, Kind.CROSSOVER, Kind.REPAIR))
    allowed = generation.experiment.repair_tries
    return next((one for one in broken.select_related("parent").order_by("number") if tries(one) < allowed), None)


def tries(variant: Variant) -> int:
    """How often this idea was tried to be mended: repairs before it, repairs of it, and replies that were none."""
    before = 0
    one: Variant | None = variant
    while one is not None and one.kind == Kind.REPAIR:
        before, one = before + 1, one.parent
    refused = Event.objects.filter(
        experiment=variant.experiment_id, kind=REFUSED, data__target=variant.number
    ).count()
    return before + variant.children.filter(kind=Kind.REPAIR).count() + refused


def failure(variant: Variant, store: Store) -> Failure:
    """What an agent is told: the cause, the end of the traceback, and what the idea had changed."""
    working = variant.parent
    while working is not None and working.kind == Kind.REPAIR:
        working = working.parent
    ended = variant.events.filter(kind="trial.ended").last()
    said = ended.data.get("traceback", "") if ended else ""
    return Failure(
        reason=variant.reason or variant.get_status_display(),
        traceback=said[-TRACEBACK:],
        diff=store.diff(working.commit, variant.commit)[:DIFF] if working else "",
    )


def counted(variants: Iterable[Variant]) -> dict[str, int]:
    """How many failed by their own fault, how many of those were tried to mend, and how many of them train now."""
    every = list(variants)
    mended = [one for one in every if one.kind == Kind.REPAIR]
    return {
        "failed": sum(one.status in BROKEN and one.kind != Kind.REPAIR for one in every),
        "tried": len({one.parent_id for one in mended}),
        "repaired": sum(one.is_measured for one in mended),
    }
