"""Leaders breed, the champion is proven: challenger against champion on paired confirmation runs.

A pair is one run of each with the same seed, drawn after the challenger's code was fixed; both are judged on the
private text. After every pair the rule of `genetics.evidence` says whether to go on. Every step is one transaction
whose first UPDATE is conditional: killed at any line, the next look takes the same step, and of two one wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from random import SystemRandom
from typing import Any

from django.db import transaction
from django.db.models import Max, Min, Q, QuerySet
from django.utils import timezone

from evolution import live
from evolution.errors import StaleTransition
from evolution.genetics import evidence, intervals
from evolution.memory import remember
from evolution.models import (
    Contest,
    ContestOutcome,
    Experiment,
    ExperimentStatus,
    Replicate,
    Status,
    Variant,
)

ACTOR = "selection"
PER_GENERATION = 2
FIRST_PAIRS = 2  # asked for together: fewer decide nothing
SEEDS = 2**31
CHOSEN = (Status.SURVIVED, Status.CULLED)
MEASURED = "measured"
OUTCOMES = {
    evidence.Verdict.PROMOTE: ContestOutcome.PROMOTED,
    evidence.Verdict.FUTILE: ContestOutcome.FUTILE,
    evidence.Verdict.UNDECIDED: ContestOutcome.UNDECIDED,
}


@dataclass(frozen=True)
class Pair:
    """One seed of a contest with what both sides made of it so far."""

    seed: int
    champion: Replicate | None
    challenger: Replicate | None

    @property
    def difference(self) -> float | None:
        """The champion's loss − the challenger's, nats; None until both are measured."""
        old, new = self.losses
        return None if old is None or new is None else old - new

    @property
    def losses(self) -> tuple[float | None, float | None]:
        return _loss(self.champion), _loss(self.challenger)


def step(experiment: Experiment) -> bool:
    """Take the next step that is due: open a contest, ask for runs, count a pair, or decide; whether one was taken."""
    if not experiment.confirm_pairs:
        return False
    contest = under_way(experiment)
    if contest is not None:
        return _go_on(contest)
    challenger = next_challenger(experiment)
    return challenger is not None and _open(experiment, challenger)


def under_way(experiment: Experiment) -> Contest | None:
    """The open contest, of which there is one at most."""
    open_ones = experiment.contests.filter(outcome=ContestOutcome.OPEN)
    return open_ones.select_related("experiment", "champion", "challenger").first()


def leader(experiment: Experiment) -> Variant | None:
    """The lowest perplexity of all that were screened, on one seed: it breeds, and nothing is claimed for it."""
    screened = experiment.variants.filter(status__in=(*CHOSEN, Status.MEASURED), perplexity__isnull=False)
    return screened.order_by("perplexity", "number").first()


def is_settled(experiment: Experiment) -> bool:
    """Whether no contest is open or due, so that the experiment may end."""
    if not experiment.confirm_pairs:
        return True
    return under_way(experiment) is None and next_challenger(experiment) is None


def next_challenger(experiment: Experiment) -> Variant | None:
    """The best screened variant that is ahead of the champion and has not met it; None when nobody is due."""
    champion = experiment.champion
    ended = _last_ended(experiment)
    if champion is None or champion.perplexity is None or ended is None:
        return None
    if experiment.contests.filter(generation=ended).count() >= PER_GENERATION:
        return None
    met = experiment.contests.filter(champion=champion).values("challenger")
    ahead = experiment.variants.filter(status__in=CHOSEN, perplexity__lt=champion.perplexity)
    return ahead.exclude(pk__in=met).order_by("perplexity", "number").first()


def pairs_of(contest: Contest) -> list[Pair]:
    """The pairs asked for so far, in the order in which they count."""
    sides = Replicate.objects.filter(variant__in=(contest.champion_id, contest.challenger_id), seed__in=contest.seeds)
    runs = {(one.variant_id, one.seed): one for one in sides}
    return [
        Pair(seed, runs.get((contest.champion_id, seed)), runs.get((contest.challenger_id, seed)))
        for seed in contest.seeds
    ]


def void(experiment: Experiment, *, actor: str, reason: str) -> None:
    """Call the open contest off; its runs are no longer wanted."""
    contest = under_way(experiment)
    if contest is not None:
        _close(contest, ContestOutcome.VOID, reason=reason, actor=actor)


def withdraw(contest: Contest) -> None:
    """What has no verdict yet is not wanted any more: nobody starts it, and what runs is given up."""
    _unfinished(contest).update(wanted=False)


def want(contest: Contest) -> None:
    """Everything of it that has no verdict yet is wanted."""
    _unfinished(contest).update(wanted=True)


def _unfinished(contest: Contest) -> QuerySet[Replicate]:
    sides = (contest.champion_id, contest.challenger_id)
    return Replicate.objects.filter(seed__in=contest.seeds, verdict="", variant__in=sides)


def _last_ended(experiment: Experiment) -> int | None:
    last: int | None = experiment.generation_rows.filter(ended_at__isnull=False).aggregate(last=Max("number"))["last"]
    return last


@transaction.atomic
def _open(experiment: Experiment, challenger: Variant) -> bool:
    champion = experiment.champion
    # The WHERE clause is the lock: an experiment that was stopped, or whose champion changed, opens nothing.
    alive = Experiment.objects.filter(pk=experiment.pk, status=ExperimentStatus.RUNNING, champion=champion)
    if champion is None or not alive.update(champion=champion):
        return False
    contest = Contest.objects.create(
        experiment=experiment, number=experiment.contests.count() + 1, generation=_last_ended(experiment) or 0,
        champion=champion, challenger=challenger,
    )
    remember(experiment, "contest.opened", actor=ACTOR, variant=challenger, data={
        "contest": contest.number, "generation": contest.generation, "champion": champion.number,
        "challenger": challenger.number, "threshold": evidence.threshold(contest.number),
        "pairs": experiment.confirm_pairs,
        "reason": f"screened at a perplexity of {challenger.perplexity:.4g}, against {champion.perplexity:.4g} "
                  f"of the champion {champion}; one seed each, so nothing is proven yet",
    })
    return True


def _go_on(contest: Contest) -> bool:
    pairs = pairs_of(contest)
    for pair in pairs:
        if (broken := _broken(contest, pair)) is not None:
            outcome, reason = broken
            return _close(contest, outcome, reason=reason)
    differences = _complete(pairs)
    if len(differences) > contest.pairs:
        return _count(contest, pairs[contest.pairs], differences[:contest.pairs + 1])
    if len(pairs) < min(max(FIRST_PAIRS, contest.pairs + 1), contest.experiment.confirm_pairs):
        return _request(contest)
    return False


def _broken(contest: Contest, pair: Pair) -> tuple[ContestOutcome, str] | None:
    """How a run that gave no number ends the contest: a challenger that fails is no better, a champion voids it."""
    sides = (
        (pair.challenger, contest.challenger, ContestOutcome.FUTILE),
        (pair.champion, contest.champion, ContestOutcome.VOID),
    )
    for run, variant, outcome in sides:
        if run is not None and run.verdict and run.val_loss is None:
            return outcome, f"{variant} with the confirmation seed {run.seed} was {run.verdict}: {run.reason}"
    return None


def _complete(pairs: Sequence[Pair]) -> list[float]:
    """The differences up to the first incomplete pair: pairs count in the order in which they were asked for."""
    found: list[float] = []
    for pair in pairs:
        if pair.difference is None:
            break
        found.append(pair.difference)
    return found


@transaction.atomic
def _count(contest: Contest, pair: Pair, differences: Sequence[float]) -> bool:
    """Add one complete pair to the evidence, and decide when that is enough."""
    count = len(differences)
    numbers: dict[str, Any] = {
        "pairs": count, "e_value": evidence.e_value(differences), "gain": sum(differences) / count,
        **_limits(intervals.mean(differences)),
    }
    still = Contest.objects.filter(pk=contest.pk, outcome=ContestOutcome.OPEN, pairs=count - 1)
    if not still.update(**numbers):
        return False
    for name, value in numbers.items():
        setattr(contest, name, value)
    champion_loss, challenger_loss = pair.losses
    remember(contest.experiment, "contest.pair", actor=ACTOR, variant=contest.challenger, data={
        "contest": contest.number, "pair": count, "seed": pair.seed, "champion": contest.champion.number,
        "challenger": contest.challenger.number, "champion_loss": champion_loss, "challenger_loss": challenger_loss,
        "e_value": contest.e_value, "gain": contest.gain, "gain_low": contest.gain_low, "gain_high": contest.gain_high,
    })
    said = evidence.verdict(differences, contest=contest.number, max_pairs=contest.experiment.confirm_pairs)
    if said in OUTCOMES:
        _close(contest, OUTCOMES[said], reason=f"{said.value}: {told(contest)}")
    return True


def _limits(interval: intervals.Interval | None) -> dict[str, float | None]:
    return {"gain_low": interval.low if interval else None, "gain_high": interval.high if interval else None}


def told(contest: Contest) -> str:
    """The evidence in words: pairs, e-value against its threshold, gain with its interval."""
    pairs = "1 pair" if contest.pairs == 1 else f"{contest.pairs} pairs"
    said = f"{pairs}, e-value {contest.e_value:.3g} where {evidence.threshold(contest.number):.0f} promotes"
    if contest.gain is None:
        return said
    said += f", gain {contest.gain:+.4f} nats"
    if contest.gain_low is None:
        return f"{said}, unreplicated"
    return f"{said} (95 % interval {contest.gain_low:+.4f} to {contest.gain_high:+.4f})"


@transaction.atomic
def _request(contest: Contest) -> bool:
    """Ask both sides for one more run with the same seed."""
    seed, drawn_at = _seed(contest)
    still = Contest.objects.filter(pk=contest.pk, outcome=ContestOutcome.OPEN, seeds=contest.seeds)
    if not still.update(seeds=[*contest.seeds, seed]):
        return False
    for variant in (contest.champion, contest.challenger):
        run, _ = Replicate.objects.get_or_create(variant=variant, seed=seed, defaults={"drawn_at": drawn_at})
        if run.verdict:
            continue  # run in an earlier contest: a seed is run once
        Replicate.objects.filter(pk=run.pk).update(wanted=True)
        remember(contest.experiment, "replicate.requested", actor=ACTOR, variant=variant, data={
            "variant": variant.number, "contest": contest.number, "seed": seed, "drawn_at": drawn_at.isoformat(),
        })
    live.wake(live.SANDBOX)
    return True


def _seed(contest: Contest) -> tuple[int, datetime]:
    """A seed and when it was drawn: one that the champion was run with already, else a new one.

    A seed is used again only if it was drawn after both were approved: no code was ever written for it. Where one of
    the two gave no number with it, it is left alone.
    """
    fixed = max((at for at in map(_approved_at, (contest.champion, contest.challenger)) if at), default=None)
    drawn = Replicate.objects.filter(variant__experiment=contest.experiment).exclude(seed__in=contest.seeds)
    sides = Q(variant__in=(contest.champion_id, contest.challenger_id))
    spoiled = drawn.filter(sides).exclude(verdict__in=("", MEASURED)).values("seed")
    known = (
        drawn.filter(seed__in=drawn.filter(variant=contest.champion, verdict=MEASURED).values("seed"))
        .exclude(seed__in=spoiled).values("seed").annotate(at=Min("drawn_at"), first=Min("id")).order_by("first")
    )
    for one in known if fixed is not None else ():
        if one["at"] > fixed:
            return one["seed"], one["at"]
    return SystemRandom().randrange(SEEDS), timezone.now()


def _approved_at(variant: Variant) -> datetime | None:
    """When it was first approved; its code was fixed before."""
    at: datetime | None = variant.transitions.filter(new=Status.APPROVED).aggregate(first=Min("at"))["first"]
    return at


@transaction.atomic
def _close(contest: Contest, outcome: ContestOutcome, *, reason: str, actor: str = ACTOR) -> bool:
    open_one = Contest.objects.filter(pk=contest.pk, outcome=ContestOutcome.OPEN)
    if not open_one.update(outcome=outcome, reason=reason, closed_at=timezone.now()):
        return False
    withdraw(contest)
    remember(contest.experiment, "contest.closed", actor=actor, variant=contest.challenger, data={
        "contest": contest.number, "outcome": outcome.value, "reason": reason, "champion": contest.champion.number,
        "challenger": contest.challenger.number, "threshold": evidence.threshold(contest.number),
        "pairs": contest.pairs, "e_value": contest.e_value, "gain": contest.gain, "gain_low": contest.gain_low,
        "gain_high": contest.gain_high,
    })
    if outcome == ContestOutcome.PROMOTED:
        _promote(contest)
    live.wake(live.EVOLUTION)
    live.wake(live.SANDBOX)
    return True


def _promote(contest: Contest) -> None:
    experiment, winner = contest.experiment, contest.challenger
    if not Experiment.objects.filter(pk=experiment.pk, champion=contest.champion).update(champion=winner):
        raise StaleTransition(f"{contest.champion} is no longer the champion: look again.")
    remember(experiment, "champion.changed", actor=ACTOR, variant=winner, data={
        "variant": winner.number, "previous": contest.champion.number, "perplexity": winner.perplexity,
        "reason": f"proven on confirmation seeds: {told(contest)}", "contest": contest.number, "pairs": contest.pairs,
        "e_value": contest.e_value, "threshold": evidence.threshold(contest.number), "gain": contest.gain,
        "gain_low": contest.gain_low, "gain_high": contest.gain_high,
    })


def _loss(run: Replicate | None) -> float | None:
    return run.val_loss if run is not None and run.verdict == MEASURED else None
