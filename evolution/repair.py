"""What failed goes back to an agent: which variant, how often, and what is told of its failure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from evolution.agents.base import Failure
from evolution.genetics.intervals import share
from evolution.genomes import Store
from evolution.models import Event, Generation, Kind, Status, Variant
from evolution.rounds import REFUSED
from trainer.contract import GENOME_DIR

BROKEN = (Status.STILLBORN, Status.FAILED)
IN_VAIN = (*BROKEN, Status.DUPLICATE)
TRACEBACK = 2_000  # characters of the end
DIFF = 20_000
AROUND = 6  # lines before and after the one that failed
TRIED = 5  # earlier tries that are told, the last ones
TRIED_DIFF = 4_000  # characters of each
FRAME = re.compile(rf'File "{re.escape(GENOME_DIR)}/(?P<path>[^"\n]+)", line (?P<line>\d+)')
PLACE = re.compile(r"(?P<path>[\w./-]+\.py):(?P<line>\d+): ")


@dataclass(frozen=True)
class Member:
    """One variant as the count of repairs sees it."""

    number: int
    kind: str
    status: str
    parent: int | None
    trains: bool


def next_one(generation: Generation) -> Variant | None:
    """What to mend next: of the oldest broken idea of `generation` that may be tried again, the last try at it.

    None when there is nothing to mend. An idea is left alone as long as a repair of it may still train.
    """
    broken = generation.variants.filter(status__in=BROKEN, kind__in=(Kind.MUTATION, Kind.CROSSOVER))
    for idea in broken.select_related("parent").order_by("number"):
        repairs = repairs_of(idea)
        if tries(idea) < generation.experiment.repair_tries and all(one.status in IN_VAIN for one in repairs):
            return next((one for one in reversed(repairs) if one.status in BROKEN), idea)
    return None


def idea_of(variant: Variant) -> Variant:
    """The proposal that `variant` is a try to mend; itself when it is none."""
    while variant.kind == Kind.REPAIR and variant.parent is not None:
        variant = variant.parent
    return variant


def repairs_of(idea: Variant) -> list[Variant]:
    """Every try to mend `idea`, repairs of repairs too, in the order of their numbers."""
    found: list[Variant] = []
    waiting = [idea]
    while waiting:
        children = list(waiting.pop().children.filter(kind=Kind.REPAIR).select_related("parent"))
        found += children
        waiting += children
    return sorted(found, key=lambda one: one.number)


def tries(variant: Variant) -> int:
    """How often the idea of `variant` was tried to be mended: repairs, and replies that were none."""
    idea = idea_of(variant)
    repairs = repairs_of(idea)
    return len(repairs) + _refusals(idea, repairs).count()


def failure(variant: Variant, store: Store) -> Failure:
    """What an agent is told: the cause, the end of the traceback, the code around it, the change, what was tried."""
    idea = idea_of(variant)
    said = _traceback(variant)
    reason = variant.reason or variant.get_status_display()
    return Failure(
        reason=reason,
        traceback=said[-TRACEBACK:],
        diff=store.diff(idea.parent.commit, variant.commit)[:DIFF] if idea.parent else "",
        code=around(store.files(variant.commit), said, reason),
        tried=_tried(idea, store),
    )


def around(files: Mapping[str, bytes], traceback: str, reason: str) -> str:
    """The code around the line that failed: the innermost frame of `traceback` in the genome, else what `reason` names.

    Empty where neither names a line that is there.
    """
    places = FRAME.findall(traceback)[-1:] or PLACE.findall(reason)[:1]
    for path, number in places:
        lines = files.get(path.removeprefix("./"), b"").decode("utf-8", errors="replace").splitlines()
        at = int(number)
        if 1 <= at <= len(lines):
            first, last = max(at - AROUND, 1), min(at + AROUND, len(lines))
            shown = [f"{'>' if n == at else ' '} {n:4} {lines[n - 1]}" for n in range(first, last + 1)]
            return "\n".join([f"{path}:", *shown])
    return ""


def counted(variants: Iterable[Variant]) -> dict[str, Any]:
    """`tally` of the variants of one experiment."""
    every = list(variants)
    numbers = {one.pk: one.number for one in every}
    return tally(
        Member(one.number, one.kind, one.status, numbers.get(one.parent_id or 0), one.is_measured) for one in every
    )


def tally(members: Iterable[Member]) -> dict[str, Any]:
    """How many ideas failed by their own fault, how many of those were tried to mend, and how many train now.

    `share` is repaired of tried, with its 95 % interval (Wilson 1927), None where nothing was tried. In the DARWIN
    paper (arXiv 2602.05848) it was 16.67 %.
    """
    every = {one.number: one for one in members}
    repairs = [one for one in every.values() if one.kind == Kind.REPAIR]
    repaired = {_root(one, every) for one in repairs if one.trains}
    tried = {_root(one, every) for one in repairs}
    found = share(len(repaired), len(tried))
    return {
        "failed": sum(one.status in BROKEN and one.kind != Kind.REPAIR for one in every.values()),
        "tried": len(tried), "repaired": len(repaired),
        "share": found.value if found else None, "share_interval": [found.low, found.high] if found else None,
    }


def _root(one: Member, every: Mapping[int, Member]) -> int:
    while one.kind == Kind.REPAIR and one.parent is not None and one.parent in every:
        one = every[one.parent]
    return one.number


def _traceback(variant: Variant) -> str:
    ended = variant.events.filter(kind="trial.ended").last()
    return str(ended.data.get("traceback", "")) if ended else ""


def _tried(idea: Variant, store: Store) -> tuple[str, ...]:
    """Each earlier try as one text: what it changed, or said, and how it ended."""
    repairs = repairs_of(idea)
    told = [
        (one.created_at, f"{one.title}: {one.reason or one.get_status_display()}\n"
         f"{store.diff(one.parent.commit, one.commit)[:TRIED_DIFF]}")
        for one in repairs if one.parent is not None
    ]
    told += [(one.at, f"a reply that was no proposal: {one.data['reason']}") for one in _refusals(idea, repairs)]
    return tuple(text for _, text in sorted(told)[-TRIED:])


def _refusals(idea: Variant, repairs: Iterable[Variant]) -> QuerySet[Event]:
    """Replies to the failure of `idea`, or of a try at it, that never became variants."""
    numbers = [idea.number, *(one.number for one in repairs)]
    return Event.objects.filter(experiment=idea.experiment_id, kind=REFUSED, data__target__in=numbers)
