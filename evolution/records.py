"""The record of each strategy: what its proposals came to, what they gained, and what they cost. Reads only."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from evolution.genetics import intervals
from evolution.genetics.bandit import Outcome
from evolution.genetics.intervals import Interval
from evolution.models import Event, Experiment, Kind, Status, Transition
from evolution.rounds import REFUSED

S = Status
JUDGED = frozenset({S.MEASURED, S.SURVIVED, S.CULLED})
IN_VAIN = frozenset({S.DUPLICATE, S.STILLBORN, S.FAILED, S.REJECTED, S.VETOED})  # ended, and brought nothing


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One proposal and what became of it. Without a status it was refused before it was a variant."""

    strategy: str
    generation: int
    status: Status | None = None
    kind: Kind = Kind.MUTATION
    gain: float | None = None  # nats against the code that it changed; positive is better
    accepted: bool = False
    survived: bool = False
    tokens: int = 0
    usd: float = 0.0
    device_seconds: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it can be said what it brought. What was called off or edited by a person says nothing."""
        return self.status is None or self.status in IN_VAIN or (self.status in JUDGED and self.gain is not None)

    @property
    def reward(self) -> float:
        """Nats, ≥ 0: what is worse than its parent is not kept."""
        return max(0.0, self.gain or 0.0)


@dataclass(frozen=True)
class Record:
    """What the proposals of one strategy came to."""

    drafts: Sequence[Draft]
    outcomes: Sequence[Outcome]  # of those that are over

    def count(self, *statuses: Status) -> int:
        return sum(one.status in statuses for one in self.drafts)

    @property
    def proposals(self) -> int:
        return len(self.drafts)

    @property
    def refused(self) -> int:
        return sum(one.status is None for one in self.drafts)

    @property
    def duplicates(self) -> int:
        return self.count(S.DUPLICATE)

    @property
    def stillborn(self) -> int:
        return self.count(S.STILLBORN)

    @property
    def failed(self) -> int:
        """In the sandbox, by their own fault, or refused by the judge."""
        return self.count(S.FAILED, S.REJECTED)

    @property
    def vetoed(self) -> int:
        return self.count(S.VETOED)

    @property
    def measured(self) -> int:
        return self.count(*JUDGED)

    @property
    def accepted(self) -> int:
        return sum(one.accepted for one in self.drafts)

    @property
    def survivors(self) -> int:
        """That survived at least one selection."""
        return sum(one.survived for one in self.drafts)

    @property
    def repaired(self) -> int:
        """Broken variants of anybody that train since this strategy mended them."""
        return sum(one.kind == Kind.REPAIR and one.status in JUDGED for one in self.drafts)

    @property
    def gains(self) -> list[float]:
        return [one.gain for one in self.drafts if one.gain is not None]

    @property
    def gain(self) -> Interval | None:
        """The mean change of the log-perplexity against the parent, nats; positive is better."""
        return intervals.mean(self.gains)

    @property
    def mean_gain(self) -> float | None:
        return fmean(self.gains) if self.gains else None

    @property
    def worth(self) -> Interval | None:
        """Nats kept for the cost of an average proposal: what the bandit compares, with nothing fading."""
        return intervals.ratio([one.reward for one in self.outcomes], [one.cost for one in self.outcomes])

    @property
    def tokens(self) -> int:
        return sum(one.tokens for one in self.drafts)

    @property
    def usd(self) -> float:
        return math.fsum(one.usd for one in self.drafts)

    @property
    def device_seconds(self) -> float:
        return math.fsum(one.device_seconds for one in self.drafts)


def records(experiment: Experiment) -> Mapping[str, Record]:
    """The record of every strategy that has proposed something, by name; an empty one for all others."""
    found = drafts(experiment)
    costs = _costs(found)
    mine: dict[str, list[Draft]] = defaultdict(list)
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    for one, cost in zip(found, costs, strict=True):
        mine[one.strategy].append(one)
        if one.is_over:
            outcomes[one.strategy].append(Outcome(one.reward, cost, max(0, experiment.generation - one.generation)))
    return defaultdict(lambda: Record((), ()), {name: Record(mine[name], outcomes[name]) for name in mine})


def drafts(experiment: Experiment) -> list[Draft]:
    """Every proposal of every strategy, refused ones too."""
    return [*_variants(experiment), *_refused(experiment)]


def _costs(found: Sequence[Draft]) -> list[float]:
    """What each of `found` cost, in average proposals: equal parts of what runs out, as far as it is used here.

    A draft (a generation has three for each place), device time, and money.
    """
    parts = [[1.0] * len(found)]
    for spent in ([one.device_seconds for one in found], [one.usd for one in found]):
        average = fmean(spent) if spent else 0.0
        if average > 0:
            parts.append([value / average for value in spent])
    return [fmean(values) for values in zip(*parts, strict=True)]


def _variants(experiment: Experiment) -> Iterable[Draft]:
    rows = experiment.variants.values(
        "pk", "parent", "kind", "status", "perplexity", "strategy__name", "generation__number", "tokens_in",
        "tokens_out", "cost_usd", "device_seconds",
    )
    by_key = {row["pk"]: row for row in rows}
    seconds = _device_seconds(experiment)
    accepted, survived = _reached(experiment, S.APPROVED), _reached(experiment, S.SURVIVED)
    for key, row in by_key.items():
        if row["strategy__name"] is not None:
            yield Draft(
                strategy=row["strategy__name"], generation=row["generation__number"], status=Status(row["status"]),
                kind=Kind(row["kind"]), gain=_gain(by_key, row), accepted=key in accepted, survived=key in survived,
                tokens=row["tokens_in"] + row["tokens_out"], usd=row["cost_usd"],
                device_seconds=seconds.get(key) or row["device_seconds"] or 0.0,
            )


def _gain(by_key: Mapping[int, Mapping[str, object]], row: Mapping[str, object]) -> float | None:
    """Nats against the nearest ancestor that works: a repair is compared with what its broken parent had changed."""
    if row["status"] not in JUDGED:
        return None
    before = by_key.get(_key(row["parent"]))
    while before is not None and row["kind"] == Kind.REPAIR and before["status"] not in JUDGED:
        before = by_key.get(_key(before["parent"]))
    return change(before["perplexity"] if before else None, row["perplexity"])


def change(before: object, after: object) -> float | None:
    """The fall of the log-perplexity in nats; None without two positive numbers."""
    if not isinstance(before, float) or not isinstance(after, float) or before <= 0 or after <= 0:
        return None
    return math.log(before) - math.log(after)


def _key(value: object) -> int:
    return value if isinstance(value, int) else -1


def _reached(experiment: Experiment, status: Status) -> frozenset[int]:
    moved = Transition.objects.filter(variant__experiment=experiment, new=status)
    return frozenset(moved.values_list("variant_id", flat=True))


def _device_seconds(experiment: Experiment) -> dict[int, float]:
    """What checks and screening trials used, by variant. Confirmation runs are the price of proof, not of proposals."""
    ended = Event.objects.filter(experiment=experiment, kind="trial.ended").exclude(data__purpose="confirm")
    used: dict[int, float] = defaultdict(float)
    for key, seconds in ended.values_list("variant_id", "data__result__device_seconds"):
        if key is not None and isinstance(seconds, int | float):
            used[key] += seconds
    return used


def _refused(experiment: Experiment) -> Iterable[Draft]:
    for data in Event.objects.filter(experiment=experiment, kind=REFUSED).values_list("data", flat=True):
        if data.get("strategy"):
            yield Draft(
                strategy=data["strategy"], generation=data["generation"], usd=data["cost_usd"],
                tokens=data["tokens_in"] + data["tokens_out"],
            )
