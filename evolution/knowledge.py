"""What the memory knows of every variant, as of now or of an earlier moment: an item each, read in a few queries.

Poisoned entries are quarantined here: of what the judge rejected an item keeps nothing but that it was rejected, and
nothing that a variant printed gets into any item.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from evolution import corrections, effects
from evolution.corrections import AS_IT_WAS, Standing
from evolution.effects import Effect, Runs
from evolution.families import OTHER
from evolution.models import Check, Event, Experiment, Kind, Replicate, Status, Transition
from evolution.novelty import RETURNED
from evolution.quoting import clean, cut, quoted
from trainer.contract import Cause


class Outcome(StrEnum):
    """How an idea ended, as far as others can learn from it."""

    HELPED = "helped"
    HURT = "hurt"
    UNKNOWN = "measured"  # the code it changed was not
    VETOED = "vetoed"
    FAILED = "failed"
    STILLBORN = "did not pass the checks"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Item:
    """What is remembered of one variant, and where that comes from."""

    number: int
    title: str  # quoted; empty in quarantine
    family: str
    regions: tuple[str, ...]
    parents: tuple[int, ...]
    proposer: int | None
    author: str
    outcome: Outcome
    by: str  # who decided it: an actor
    at: datetime  # when
    against: int | None = None  # the measured variant that `effect` compares with
    effect: Effect | None = None
    said: str = ""  # the reviewer's reason, the cause of a failure, or what a check found
    returns: int = 0  # how often a vetoed idea came back
    standing: Standing = AS_IT_WAS


ENDS = {
    Status.VETOED: Outcome.VETOED, Status.FAILED: Outcome.FAILED, Status.STILLBORN: Outcome.STILLBORN,
    Status.REJECTED: Outcome.REJECTED,
}
MEASURED = frozenset({Status.MEASURED, Status.SURVIVED, Status.CULLED})
ON_THE_WAY = (Status.SCREENED, Status.CHECKED, Status.IN_REVIEW)
BORROWED = (Kind.EDIT, Kind.REPAIR)  # the idea is that of the variant they were made from
FIELDS = (
    "number", "parent__number", "other_parent__number", "proposer__number", "kind", "title", "author", "family",
    "regions", "perplexity",
)


@dataclass(frozen=True)
class Knowledge:
    """Everything that may be recalled. `parents` covers every variant, so that lineages can be followed."""

    items: Mapping[int, Item]  # by the number of the variant
    parents: Mapping[int, tuple[int, ...]]
    repetitions: int  # proposals that were code which had been there before


@dataclass(frozen=True)
class _Ended:
    status: Status
    by: str
    at: datetime
    reason: str


def known(experiment: Experiment, *, until: datetime | None = None) -> Knowledge:
    """What is known, or was at `until`: later outcomes, confirmation runs and corrections do not count then."""
    facts = {row["number"]: row for row in experiment.variants.values(*FIELDS)}
    ended = _ended(experiment, until)
    causes = _causes(experiment)
    reading = _Reading(
        facts=facts, ended=ended, runs=_runs(experiment, facts, ended, until), caught=_caught(experiment, until),
        causes=causes, findings=_findings(experiment, causes), returns=_returns(experiment, until),
        standings=corrections.standings(experiment, until=until), one_seed=_noise(experiment, until),
    )
    return Knowledge(
        items={number: item for number in facts if (item := reading.item(number)) is not None},
        parents={number: _parents(row) for number, row in facts.items()},
        repetitions=sum(one.status == Status.DUPLICATE for one in ended.values()),
    )


@dataclass(frozen=True)
class _Reading:
    """The rows behind the items, by the number of the variant."""

    facts: Mapping[int, dict[str, Any]]
    ended: Mapping[int, _Ended]
    runs: Mapping[int, Runs]
    caught: Collection[int]  # measured, and rejected in a confirmation run
    causes: Mapping[int, str]
    findings: Mapping[int, tuple[str, str]]
    returns: Mapping[int, int]
    standings: Mapping[int, Standing]
    one_seed: float | None

    def item(self, number: int) -> Item | None:
        """What is remembered of `number`; None for a baseline and for what is not over."""
        row, end = self.facts[number], self.ended.get(number)
        if end is None or row["parent__number"] is None:
            return None
        if end.status in MEASURED and number not in self.caught:
            return self._measured(row, end)
        outcome = Outcome.REJECTED if number in self.caught else ENDS.get(end.status)
        if outcome is None:
            return None
        item = self._item(row, end, outcome)
        return _quarantined(item) if outcome == Outcome.REJECTED else replace(item, said=self._said(number, end))

    def _measured(self, row: dict[str, Any], end: _Ended) -> Item:
        against = self._compared_with(row)
        found = effects.effect(
            self.runs.get(row["number"], Runs()), self.runs.get(against, Runs()), one_seed=self.one_seed
        ) if against is not None else None
        outcome = Outcome.UNKNOWN if found is None else Outcome.HELPED if found.nats < 0 else Outcome.HURT
        return replace(self._item(row, end, outcome), against=against, effect=found)

    def _compared_with(self, row: dict[str, Any]) -> int | None:
        """The nearest forebear with a loss: what an edit or a repair was made from was never measured."""
        number = row["parent__number"]
        while number is not None and self.runs.get(number, Runs()).screened is None:
            number = self.facts[number]["parent__number"]
        return int(number) if number is not None else None

    def _item(self, row: dict[str, Any], end: _Ended, outcome: Outcome) -> Item:
        number, idea = row["number"], self._idea(row)
        return Item(
            number=number, title=quoted(row["title"]), family=idea["family"] or OTHER,
            regions=tuple(dict.fromkeys([*idea["regions"], *row["regions"]])), parents=_parents(row),
            proposer=row["proposer__number"], author=row["author"], outcome=outcome, by=end.by, at=end.at,
            returns=self.returns.get(number, 0), standing=self.standings.get(number, AS_IT_WAS),
        )

    def _idea(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row whose change the idea is: an edit's and a repair's own change is only what they put right."""
        while row["kind"] in BORROWED and row["parent__number"] is not None:
            row = self.facts[row["parent__number"]]
        return row

    def _said(self, number: int, end: _Ended) -> str:
        if end.status == Status.VETOED:
            return cut(clean(end.reason))  # a reviewer may give orders
        if end.status == Status.FAILED:
            return self.causes.get(number) or "the cause is not known"
        name, detail = self.findings.get(number, ("the cause is not known", ""))
        return f"{name} ({detail})" if detail else name


def _quarantined(item: Item) -> Item:
    """Nothing but that it was rejected: no words, no regions and no kind that could teach how."""
    standing = replace(item.standing, pinned=False, words="")
    return replace(item, title="", family=OTHER, regions=(), standing=standing)


def _parents(row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(one for one in (row["parent__number"], row["other_parent__number"]) if one is not None)


def _ended(experiment: Experiment, until: datetime | None) -> dict[int, _Ended]:
    """The last move of each variant that was not merely on its way."""
    moves = Transition.objects.filter(variant__experiment=experiment).exclude(new__in=ON_THE_WAY).order_by("id")
    if until is not None:
        moves = moves.filter(at__lte=until)
    found: dict[int, _Ended] = {}
    for number, new, actor, at, reason in moves.values_list("variant__number", "new", "actor", "at", "reason"):
        before = found.get(number)
        if before is not None and before.status in MEASURED and Status(new) in MEASURED:
            continue  # selection says nothing new about the change: who measured it and when stays
        found[number] = _Ended(Status(new), actor, at, reason)
    return found


def _runs(
    experiment: Experiment, facts: Mapping[int, dict[str, Any]], ended: Mapping[int, _Ended], until: datetime | None
) -> dict[int, Runs]:
    """Losses by variant. One whose measurement came after `until` has none."""
    rows = Replicate.objects.filter(variant__experiment=experiment, verdict="measured")
    if until is not None:
        rows = rows.filter(ended_at__lte=until)
    seeds: dict[int, dict[int, float]] = {}
    for number, seed, loss in rows.values_list("variant__number", "seed", "val_loss"):
        if loss is not None:
            seeds.setdefault(number, {})[seed] = loss
    return {
        number: Runs(effects.loss_of(row["perplexity"]), seeds.get(number, {}))
        for number, row in facts.items() if number in ended and ended[number].status in MEASURED
    }


def _caught(experiment: Experiment, until: datetime | None) -> frozenset[int]:
    rows = Replicate.objects.filter(variant__experiment=experiment, verdict="rejected")
    return frozenset((rows.filter(ended_at__lte=until) if until else rows).values_list("variant__number", flat=True))


def _causes(experiment: Experiment) -> dict[int, str]:
    """The cause of the last failed trial, from the contract's list and never in words of the variant's own."""
    allowed = {cause.value for cause in Cause}
    ends = Event.objects.filter(experiment=experiment, kind="trial.ended", variant__isnull=False).order_by("id")
    return {
        number: data["cause"] for number, data in ends.values_list("variant__number", "data")
        if data.get("verdict") == "failed" and data.get("cause") in allowed
    }


def _findings(experiment: Experiment, causes: Mapping[int, str]) -> dict[int, tuple[str, str]]:
    """(which check failed, what it found). What ran in the sandbox gives a cause only: the rest are its own words."""
    ran = set(Transition.objects.filter(
        variant__experiment=experiment, new=Status.SCREENED
    ).values_list("variant__number", flat=True))
    failed = Check.objects.filter(variant__experiment=experiment, passed=False).order_by("id")
    return {
        number: (name, causes.get(number, "") if number in ran else quoted(detail))
        for number, name, detail in failed.values_list("variant__number", "name", "detail")
    }


def _returns(experiment: Experiment, until: datetime | None) -> dict[int, int]:
    """How often each vetoed idea came back."""
    events = Event.objects.filter(experiment=experiment, kind=RETURNED)
    found: dict[int, int] = {}
    for data in (events.filter(at__lte=until) if until else events).values_list("data", flat=True):
        found[data["veto"]] = found.get(data["veto"], 0) + 1
    return found


def _noise(experiment: Experiment, until: datetime | None) -> float | None:
    """What `manage.py calibrate` found, unless that was later."""
    at = experiment.noise.get("at")
    late = until is not None and isinstance(at, str) and datetime.fromisoformat(at) > until
    return None if late else effects.one_seed(experiment.noise)
