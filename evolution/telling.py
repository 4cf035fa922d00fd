"""Items of memory as sentences: what one variant taught, and what many did, by kind of change or by region."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evolution import effects
from evolution.effects import Effect, nats
from evolution.genetics.intervals import Interval
from evolution.knowledge import Item, Outcome
from evolution.quoting import clean, cut, quoted

SENTENCE = 320  # letters of one item
REGIONS = 3  # named of one item
CAUSES = 3  # named of one group


@dataclass(frozen=True)
class Group:
    """What is known of one kind of change, or of one region of code. `mean` is over its changes, in nats."""

    name: str
    items: Sequence[Item]
    effects: Sequence[Effect]
    mean: Interval | None
    best: Item | None  # of those that helped

    def ended(self, *outcomes: Outcome) -> list[Item]:
        return [one for one in self.items if one.outcome in outcomes]

    @property
    def failures(self) -> list[Item]:
        return self.ended(Outcome.FAILED, Outcome.STILLBORN)

    @property
    def vetoes(self) -> list[Item]:
        return self.ended(Outcome.VETOED)


def by_family(items: Iterable[Item]) -> list[Group]:
    """A group for each kind of change, the one with most items first. What is in quarantine is in none."""
    return _grouped((item.family, item) for item in items if item.outcome != Outcome.REJECTED)


def by_region(items: Iterable[Item]) -> list[Group]:
    return _grouped((region, item) for item in items for region in item.regions)


def _grouped(pairs: Iterable[tuple[str, Item]]) -> list[Group]:
    found: dict[str, list[Item]] = {}
    for name, item in pairs:
        found.setdefault(name, []).append(item)
    groups = [_group(name, items) for name, items in found.items()]
    return sorted(groups, key=lambda one: (-len(one.items), one.name))


def _group(name: str, items: Sequence[Item]) -> Group:
    measured = [(item.effect.nats, item.number, item) for item in items if item.effect is not None]
    best = min(measured, default=None)
    found = [item.effect for item in items if item.effect is not None]
    return Group(name, items, found, effects.pooled(found), best[2] if best and best[0] < 0 else None)


def summary(group: Group) -> str:
    """`normalisation: 4 measured, mean −0.011 nats (95 % −0.020 … −0.002), best v7 “RMSNorm” −0.020; 1 failed (…)`."""
    parts = [_measured(group)] if group.effects else []
    if group.failures:
        parts.append(f"{len(group.failures)} failed ({'; '.join(_causes(group.failures))})")
    if group.vetoes:
        reasons = "; ".join(f"“{said}”" for said in _causes(group.vetoes))
        parts.append(f"{len(group.vetoes)} vetoed{f': {reasons}' if reasons else ''}")
    return cut(f"{quoted(group.name)}: {'; '.join(parts)}.", SENTENCE) if parts else ""


def _measured(group: Group) -> str:
    mean = group.mean
    said = f"{len(group.effects)} measured"
    if mean is not None:
        said += f", mean {nats(mean.value)} nats (95 % {nats(mean.low)} … {nats(mean.high)})"
    else:
        said += f", {nats(group.effects[0].nats)} nats"
    best = group.best
    if best is not None and best.effect is not None and len(group.effects) > 1:
        said += f", best v{best.number} “{best.title}” {nats(best.effect.nats)}"
    return said


def _causes(items: Sequence[Item]) -> list[str]:
    return list(dict.fromkeys(cut(item.said, 80) for item in items if item.said))[:CAUSES]


def sentence(item: Item) -> str:
    """One item with where it comes from: the variant, what it changed, how it ended."""
    if item.outcome == Outcome.REJECTED:
        return f"v{item.number} was rejected."
    where = ", ".join(quoted(one) for one in item.regions[:REGIONS])
    more = f" and {len(item.regions) - REGIONS} more" if len(item.regions) > REGIONS else ""
    what = f"v{item.number} “{item.title}” ({item.family}{f'; {where}{more}' if where else ''})"
    if item.standing.words:
        return cut(f"{what}: {clean(item.standing.words)} (a reviewer's words)", SENTENCE)
    return cut(f"{what}: {ending(item).rstrip('.')}.", SENTENCE)


def ending(item: Item) -> str:
    """How it ended, in half a sentence."""
    if item.outcome == Outcome.VETOED:
        back = f" (came back {item.returns} time{'s' if item.returns > 1 else ''})" if item.returns else ""
        return f"vetoed by a reviewer{f': {item.said}' if item.said else ''}{back}"
    if item.outcome == Outcome.FAILED:
        return f"failed in training: {item.said}"
    if item.outcome == Outcome.STILLBORN:
        return f"did not pass the checks: {item.said}"
    if item.effect is None:
        return "was measured, and what it changed was not"
    return f"loss {nats(item.effect.nats)} nats against v{item.against} ({trust(item.effect)})"


def trust(effect: Effect) -> str:
    """What stands behind a number."""
    if effect.low is None or effect.high is None:
        return "one seed, unreplicated, noise not calibrated"
    limits = f"95 % {nats(effect.low)} … {nats(effect.high)}"
    if effect.is_replicated:
        return f"{limits}, {effect.seeds} seeds"
    return f"one seed, unreplicated; {limits} by the calibrated noise"
