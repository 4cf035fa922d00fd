"""What the experiment page is drawn from: one JSON object, in the page and again after every piece of news."""

from typing import Any

from django.db.models import Max
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from darwin_web.pages.figures import change, claims, measured, perplexity_error
from darwin_web.pages.health import health_of
from darwin_web.pages.progress import progress_of
from darwin_web.pages.scope import experiment_of, person
from evolution import repair
from evolution.efficiency import is_comparable
from evolution.genetics import evidence
from evolution.models import Experiment, Status, Variant
from review.queries import waiting
from sandbox import queries
from sandbox.models import Attempt, Purpose


@never_cache
@require_GET
def experiment_state(request: HttpRequest, slug: str) -> JsonResponse:
    experiment = experiment_of(request, slug)
    return JsonResponse({**state_of(experiment), "review_count": waiting(person(request)).count()})


def state_of(experiment: Experiment) -> dict[str, Any]:
    """Numbers are shares and seconds, not text; a missing one is null. `event` is the newest event it knows of."""
    event = experiment.events.aggregate(top=Max("id"))["top"] or 0
    progress = progress_of(experiment)
    variants = list(experiment.variants.select_related("generation", "parent", "other_parent"))
    baseline = experiment.baseline
    fastest = max((v for v in variants if v.mfu is not None), key=lambda v: v.mfu or 0.0, default=None)
    best = measured(_best(variants), baseline)
    return {
        "event": event,
        "name": experiment.name,
        "status": experiment.status,
        "reason": experiment.reason,
        "generation": experiment.generation,
        "generations": experiment.generations,
        "population": experiment.population,
        "over": experiment.is_over,
        "progress": progress.share,
        "seconds_left": progress.seconds_left,
        "waiting": progress.waiting,
        "running": progress.running,
        "cost_usd": progress.cost_usd,
        "budget_usd": experiment.budget_usd,
        "llm_tokens": progress.tokens,
        "counts": progress.counts,
        "repairs": repair.counted(variants),
        "best": best.as_json() if best else None,
        "baseline": baseline.number if baseline else None,
        "champion": experiment.champion.number if experiment.champion else None,
        "replicated": False,  # every number of a variant here is of its one screening run
        "mfu_is_informational": not is_comparable(experiment),
        "champion_replicated": _is_replicated(experiment.champion),
        "contests": _contests(experiment),
        "health": health_of(experiment),
        "best_mfu": {
            "number": fastest.number, "mfu": fastest.mfu,
            "change": change(fastest.mfu, baseline.mfu if baseline else None),
        } if fastest else None,
        "variants": _rows(experiment, variants),
    }


def _is_replicated(champion: Variant | None) -> bool:
    return champion is not None and claims(champion)["perplexity"].is_replicated


def _contests(experiment: Experiment) -> list[dict[str, Any]]:
    """Every contest as the page has to know it, so that it sees when to read again what the server renders."""
    return [
        {
            "number": one.number, "champion": one.champion.number, "challenger": one.challenger.number,
            "outcome": one.outcome, "pairs": one.pairs, "e_value": one.e_value,
            "threshold": evidence.threshold(one.number), "gain": one.gain, "gain_low": one.gain_low,
            "gain_high": one.gain_high, "asked": len(one.seeds),
        }
        for one in experiment.contests.select_related("champion", "challenger")
    ]


def _best(variants: list[Variant]) -> Variant | None:
    scored = [v for v in variants if v.perplexity is not None and v.status != Status.REJECTED]
    return min(scored, key=lambda v: v.perplexity or 0.0, default=None)


def _rows(experiment: Experiment, variants: list[Variant]) -> list[dict[str, Any]]:
    training = queries.active_attempts(experiment).exclude(trial__purpose=Purpose.CONFIRM)
    running = {attempt.trial.variant_id: attempt for attempt in training}
    speeds = queries.latest_speed(attempt.trial_id for attempt in running.values())
    return [_row(variant, running.get(variant.pk), speeds, experiment.baseline) for variant in variants]


def _row(
    variant: Variant, attempt: Attempt | None, speeds: dict[int, float], baseline: Variant | None
) -> dict[str, Any]:
    speed = speeds.get(attempt.trial_id) if attempt else None
    return {
        "n": variant.number,
        "generation": variant.generation.number,
        "kind": variant.kind,
        "status": variant.status,
        "reason": variant.reason,
        "title": variant.title,
        "author": variant.author,
        "parent": variant.parent.number if variant.parent else None,
        "other_parent": variant.other_parent.number if variant.other_parent else None,
        "lines": variant.lines_changed,
        "perplexity": variant.perplexity,
        "error": perplexity_error(variant),
        "mfu": variant.mfu,
        "mfu_so_far": _mfu_so_far(variant, speed, baseline),
        "tokens_per_second": variant.tokens_per_second if speed is None else speed,
        "train_seconds": variant.train_seconds,
        "progress": attempt.progress if attempt else None,
        "phase": attempt.state if attempt else None,
    }


def _mfu_so_far(variant: Variant, speed: float | None, baseline: Variant | None) -> float | None:
    """MFU while it trains: the baseline's, scaled by the tokens per second so far and by the parent's FLOPs per token.

    Good until the judge has counted this variant's own FLOPs; the chart marks it as an estimate.
    """
    if speed is None or baseline is None or not (baseline.mfu and baseline.tokens_per_second):
        return None
    near = variant.parent if variant.parent and variant.parent.flops_per_token else baseline
    flops = (near.flops_per_token or 1.0) / (baseline.flops_per_token or near.flops_per_token or 1.0)
    return baseline.mfu * speed / baseline.tokens_per_second * flops
