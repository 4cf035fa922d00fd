"""What the pages read about trials: curves, attempts, and how long things took."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from django.db.models import Avg, Count, F, Max, QuerySet

from evolution.models import Experiment, Variant
from sandbox.models import Attempt, AttemptState, Point, Purpose, Trial, Verdict

POINTS_PER_TRIAL = 500
POINTS_PER_ANSWER = 60_000
NEWS_PER_ANSWER = 5_000


class Dot(NamedTuple):
    """One claimed point: training tokens and seconds as the text server counted them, loss in nats as claimed."""

    step: int
    tokens: int
    seconds: float
    loss: float | None


class Curve(NamedTuple):
    trial: int
    variant: int
    running: bool
    dots: Sequence[Dot]


def downsample(dots: Sequence[Dot], *, limit: int) -> Sequence[Dot]:
    """At most `limit` of `dots`: the lowest and the highest loss of each bucket, so that no spike is lost.

    The first and the last dot stay. Dots without a finite loss are kept only where nothing is left out.
    """
    if len(dots) <= limit:
        return dots
    inner = [dot for dot in dots[1:-1] if dot.loss is not None]
    buckets = max(1, (limit - 2) // 2)
    kept: list[Dot] = [dots[0]]
    for number in range(buckets):
        bucket = inner[number * len(inner) // buckets : (number + 1) * len(inner) // buckets]
        kept.extend(_extremes(bucket))
    return [*kept, dots[-1]]


def _extremes(bucket: Sequence[Dot]) -> list[Dot]:
    if not bucket:
        return []
    places = range(len(bucket))
    low = min(places, key=lambda place: bucket[place].loss or 0.0)
    high = max(places, key=lambda place: bucket[place].loss or 0.0)
    return [bucket[place] for place in sorted({low, high})]


def curves(experiment: Experiment) -> tuple[list[Curve], int]:
    """Every scored trial's claimed curve, downsampled, and the id of the newest point: ask from there for news."""
    # Read before the curves: a point that arrives meanwhile is sent twice rather than never.
    newest = Point.objects.filter(trial__variant__experiment=experiment).aggregate(top=Max("id"))["top"] or 0
    trials = list(_scored(experiment))
    limit = max(20, min(POINTS_PER_TRIAL, POINTS_PER_ANSWER // max(1, len(trials))))
    found = [
        Curve(trial.pk, trial.variant.number, trial.ended_at is None, _curve(trial, limit)) for trial in trials
    ]
    return found, newest


def curve_news(experiment: Experiment, *, since: int) -> tuple[list[Curve], int]:
    """The points made after the point `since`, at most NEWS_PER_ANSWER of them, and the id of the last one."""
    rows = (
        Point.objects.filter(trial__variant__experiment=experiment, trial__purpose=Purpose.SCORE, id__gt=since)
        .order_by("id")
        .values_list("id", "trial_id", "step", "tokens", "seconds", "loss")[:NEWS_PER_ANSWER]
    )
    by_trial: dict[int, list[Dot]] = {}
    newest = since
    for newest, trial, step, tokens, seconds, loss in rows:  # noqa: B007 its last value is what we return
        by_trial.setdefault(trial, []).append(Dot(step, tokens, seconds, loss))
    trials = _scored(experiment).filter(pk__in=by_trial)
    return [Curve(t.pk, t.variant.number, t.ended_at is None, by_trial[t.pk]) for t in trials], newest


def _scored(experiment: Experiment) -> QuerySet[Trial]:
    return Trial.objects.filter(variant__experiment=experiment, purpose=Purpose.SCORE).select_related("variant")


def _curve(trial: Trial, limit: int) -> Sequence[Dot]:
    if trial.ended_at is None:
        return downsample(_dots(trial.pk), limit=limit)
    return _ended_curve(trial.pk, trial.ended_at, limit)


@lru_cache(maxsize=4096)
def _ended_curve(trial: int, ended_at: datetime, limit: int) -> Sequence[Dot]:
    """An ended trial gets no further points; `ended_at` is in the key because databases reuse ids."""
    return downsample(_dots(trial), limit=limit)


def _dots(trial: int) -> list[Dot]:
    rows = Point.objects.filter(trial_id=trial).order_by("id").values_list("step", "tokens", "seconds", "loss")
    return [Dot(*row) for row in rows.iterator()]


def trials_of(variant: Variant) -> QuerySet[Trial]:
    return variant.trials.prefetch_related("attempts").order_by("id")


def active_attempts(experiment: Experiment) -> QuerySet[Attempt]:
    """What runs now, with its trial and variant."""
    return (
        Attempt.objects.filter(trial__variant__experiment=experiment)
        .exclude(state=AttemptState.ENDED)
        .select_related("trial__variant")
    )


def latest_speed(trials: Iterable[int]) -> dict[int, float]:
    """Tokens per second so far of running trials, as the text server counted them."""
    found: dict[int, float] = {}
    for trial in trials:
        last = Point.objects.filter(trial_id=trial, seconds__gt=0).order_by("-id").first()
        if last is not None:
            found[trial] = last.tokens / last.seconds
    return found


class Pace(NamedTuple):
    """How long one scored training took here, from its container's start to the judge's last word."""

    seconds: float
    trainings: int
    devices: int


def pace(experiment: Experiment | None = None) -> Pace | None:
    """The mean over an experiment's ended trainings (or over all of this machine's), None before the first."""
    ended = Attempt.objects.filter(
        trial__purpose=Purpose.SCORE, trial__verdict=Verdict.MEASURED, ended_at__isnull=False
    )
    if experiment is not None:
        ended = ended.filter(trial__variant__experiment=experiment)
    found = ended.aggregate(
        mean=Avg(F("ended_at") - F("created_at")), count=Count("id"), devices=Count("device", distinct=True)
    )
    if not found["count"]:
        return None
    return Pace(found["mean"].total_seconds(), found["count"], max(1, found["devices"]))


class Speed(NamedTuple):
    """What trainings measured on this machine say about the next ones."""

    tokens_per_second: float
    train_seconds: float


def speed() -> Speed | None:
    """The means over every variant measured here, None before the first."""
    found = Variant.objects.filter(tokens_per_second__isnull=False, train_seconds__isnull=False).aggregate(
        tokens=Avg("tokens_per_second"), train=Avg("train_seconds")
    )
    return None if found["tokens"] is None else Speed(found["tokens"], found["train"])
