"""How far an experiment is, how long it will still take, and what waits for whom."""

from collections import Counter
from dataclasses import dataclass

from django.db.models import Count, F, Sum

from evolution import spending
from evolution.lifecycle import ENDED
from evolution.models import Experiment, ExperimentStatus, Pace, Replicate, Status
from sandbox import queries

# How much of a variant's road lies behind it; training counts from here to 1 by its own progress.
BEHIND = {
    Status.DRAFTED: 0.0, Status.SCREENED: 0.05, Status.CHECKED: 0.1, Status.IN_REVIEW: 0.1, Status.APPROVED: 0.15,
    Status.TRAINING: 0.15,
}
TRAINED = (Status.MEASURED, Status.SURVIVED, Status.CULLED, Status.FAILED, Status.REJECTED)


@dataclass(frozen=True)
class Progress:
    share: float  # 0 … 1 of the whole experiment
    seconds_left: float | None  # of computing; None before anything was measured or when it is over
    waiting: int  # variants that wait for a person
    running: int
    counts: dict[str, int]  # status -> variants
    cost_usd: float  # of calls of models, with what is set aside for those under way
    tokens: int  # of language models

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def progress_of(experiment: Experiment) -> Progress:
    rows = experiment.variants.values("status", "generation__number").annotate(count=Count("id"))
    counts: Counter[str] = Counter()
    current: Counter[str] = Counter()
    for row in rows:
        counts[row["status"]] += row["count"]
        if row["generation__number"] == experiment.generation or (_overlaps(experiment) and row["generation__number"]):
            current[row["status"]] += row["count"]
    tokens = experiment.calls.aggregate(sum=Sum(F("tokens_in") + F("tokens_out"), default=0))["sum"]
    share = _share(experiment, current)
    return Progress(
        share=share, seconds_left=_seconds_left(experiment, counts), waiting=counts[Status.IN_REVIEW],
        running=counts[Status.TRAINING], counts=dict(counts),
        cost_usd=spending.spent(experiment.calls.all()), tokens=tokens,
    )


def _share(experiment: Experiment, current: Counter[str]) -> float:
    if experiment.status == ExperimentStatus.FINISHED:
        return 1.0
    under_way = experiment.generations if _overlaps(experiment) else 1
    size = experiment.population * under_way if experiment.generation else 1
    behind = sum(
        count * (1.0 if status in ENDED else BEHIND[Status(status)])
        for status, count in current.items()
        if status not in (Status.SUPERSEDED, Status.TRAINING)
    )
    behind += sum(
        BEHIND[Status.TRAINING] + (1 - BEHIND[Status.TRAINING]) * attempt.progress
        for attempt in queries.active_attempts(experiment).filter(trial__variant__status=Status.TRAINING)
    )
    ended = 0 if _overlaps(experiment) else experiment.generation - 1
    before = 1 + ended * experiment.population if experiment.generation else 0
    return min(1.0, (before + min(behind, size)) / (1 + experiment.generations * experiment.population))


def _overlaps(experiment: Experiment) -> bool:
    """Whether generations overlap, so that the one under way says nothing about those before it."""
    return experiment.pace == Pace.STEADY


def _seconds_left(experiment: Experiment, counts: Counter[str]) -> float | None:
    """Trainings still to come × their mean duration here; as many of the proposals train as did so far.

    Of confirmation runs only those that are asked for already: a contest may end after two pairs.
    """
    pace = None if experiment.is_over else queries.pace(experiment)
    if pace is None:
        return None
    trained = sum(counts[status] for status in TRAINED)
    ended = sum(counts[status] for status in ENDED)
    due = counts[Status.APPROVED] + counts[Status.TRAINING] + _confirmations(experiment)
    undecided = sum(counts.values()) - ended - counts[Status.APPROVED] - counts[Status.TRAINING]
    to_come = max(0, 1 + experiment.generations * experiment.population - sum(counts.values())) + undecided
    return (due + to_come * trained / max(1, ended)) * pace.seconds / pace.devices


def _confirmations(experiment: Experiment) -> int:
    return Replicate.objects.filter(variant__experiment=experiment, wanted=True, verdict="").count()
