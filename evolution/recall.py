"""What a brief is told of the memory: ranked by relevance and trust, within a budget of characters, always the same.

Pinned items first, then the counts by kind of change and by region, then single items, the kinds of outcome in turn so
that vetoes and failures always have a place. docs/memory.md, "Reading it back", says the weights and why.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, zip_longest

from django.conf import settings

from evolution.genetics import lineage
from evolution.knowledge import Item, Knowledge, Outcome, known
from evolution.models import Experiment, MemoryMode, Variant
from evolution.telling import Group, by_family, by_region, sentence, summary

OFF = "The memory is switched off for this experiment: nothing of what was tried before is told."
TURNS = (
    (Outcome.VETOED,), (Outcome.FAILED, Outcome.STILLBORN), (Outcome.HELPED,), (Outcome.HURT,), (Outcome.REJECTED,),
)
PINNED, FAMILIES, REGIONS = 0.3, 0.25, 0.15  # shares of the budget, at most; the rest is for single items
USUAL = 0.05  # nats: an effect of this size is half convincing where the noise is not known
# Relevance, 0 … 4
SAME_PARENT, KIN, FAMILY, REGION = 1.5, 0.75, 0.5, 0.75
# Trust, 0 … 1.5
REPLICATED, CLEAR, UNREPLICATED, DECIDED = 0.75, 0.5, 0.25, 0.75
SIZE = 0.75
RECENT = 0.5


@dataclass(frozen=True)
class Focus:
    """What a brief is about: the target, what it descends from, and what that lineage changed."""

    target: int | None
    forebears: frozenset[int]
    families: frozenset[str]
    regions: frozenset[str]
    last: int  # the highest number of all variants


def recall(experiment: Experiment, *, target: Variant | None = None, budget: int | None = None) -> list[str]:
    """What a brief about `target` holds of the memory: one sentence each, at most `budget` characters together."""
    if experiment.memory == MemoryMode.OFF:
        return [OFF]
    knowledge = known(experiment, until=moment(experiment))
    return told(knowledge, target=target.number if target else None, budget=allowance() if budget is None else budget)


def moment(experiment: Experiment) -> datetime | None:
    """Nothing newer is recalled; None for no limit. A memory that was frozen from the start knows nothing."""
    if experiment.memory != MemoryMode.FROZEN:
        return None
    return experiment.frozen_at or experiment.created_at


def allowance() -> int:
    """Characters of a brief that may come from the memory."""
    return int(settings.DARWIN_MEMORY_CHARACTERS)


def told(knowledge: Knowledge, *, target: int | None, budget: int) -> list[str]:
    focus = focus_of(knowledge, target)
    items = ranked((item for item in knowledge.items.values() if not item.standing.revoked), focus)
    page = _Page(budget)
    page.add(_repetitions(knowledge.repetitions))
    page.fill((f"Pinned by a reviewer: {sentence(one)}" for one in items if one.standing.pinned), share=PINNED)
    page.fill(_summaries("Kind of change", by_family(items), ()), share=FAMILIES)
    page.fill(_summaries("Region", by_region(items), focus.regions), share=REGIONS)
    page.fill(sentence(one) for one in in_turn([one for one in items if not one.standing.pinned]))
    return page.lines


@dataclass
class _Page:
    """Lines as long as there is room; a line that does not fit is left out, a shorter one may still fit."""

    room: int

    def __post_init__(self) -> None:
        self.budget = self.room
        self.lines: list[str] = []

    def add(self, line: str) -> bool:
        if not line or len(line) + 1 > self.room:
            return False
        self.lines.append(line)
        self.room -= len(line) + 1
        return True

    def fill(self, lines: Iterable[str], *, share: float = 1.0) -> None:
        allowed = int(share * self.budget)
        for line in lines:
            if len(line) < allowed and self.add(line):
                allowed -= len(line) + 1


def focus_of(knowledge: Knowledge, target: int | None) -> Focus:
    forebears = frozenset(lineage.ancestors(knowledge.parents, target)) if target is not None else frozenset()
    kin = [knowledge.items[one] for one in forebears if one in knowledge.items]
    return Focus(
        target=target, forebears=forebears, families=frozenset(one.family for one in kin),
        regions=frozenset(region for one in kin for region in one.regions), last=max(knowledge.parents, default=0),
    )


def ranked(items: Iterable[Item], focus: Focus) -> list[Item]:
    """The most relevant and best founded first; of equals the newest."""
    return sorted(items, key=lambda item: (-round(relevance(item, focus) + trust(item), 6), -item.number))


def relevance(item: Item, focus: Focus) -> float:
    """0 … 4: tried on the very target, kin of it, the kind and the regions its lineage changed, and recency."""
    shared = len(focus.regions.intersection(item.regions)) / len(item.regions) if item.regions else 0.0
    return (
        SAME_PARENT * (focus.target in item.parents)
        + KIN * bool(focus.forebears.intersection((item.number, *item.parents)))
        + FAMILY * (item.family in focus.families)
        + REGION * shared
        + RECENT * item.number / max(focus.last, 1)
    )


def trust(item: Item) -> float:
    """0 … 1.5: what stands behind it, and how large the effect is beside the noise."""
    effect = item.effect
    if effect is None:
        return DECIDED
    founded = REPLICATED if effect.is_replicated else CLEAR if effect.is_clear else UNREPLICATED
    size = abs(effect.nats)
    return founded + SIZE * size / (size + (effect.half or USUAL))


def in_turn(items: Sequence[Item]) -> Iterator[Item]:
    """One of each kind of outcome, then the second of each: no kind crowds the others out."""
    kinds = [[item for item in items if item.outcome in outcomes] for outcomes in TURNS]
    return (item for item in chain.from_iterable(zip_longest(*kinds)) if item is not None)


def _summaries(word: str, groups: Sequence[Group], first: Iterable[str]) -> Iterator[str]:
    """A line for each group of two or more, those in `first` before the others. One item speaks for itself."""
    wanted = frozenset(first)
    for group in sorted(groups, key=lambda one: one.name not in wanted):
        if len(group.items) > 1 and (line := summary(group)):
            yield f"{word} {line}"


def _repetitions(count: int) -> str:
    if not count:
        return ""
    said = "1 proposal was" if count == 1 else f"{count} proposals were"
    return f"{said} code, or a vetoed idea, that had been there before: propose something new."
