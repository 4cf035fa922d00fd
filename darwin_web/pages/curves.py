"""Claimed curves and measured ends, for the live charts."""

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from darwin_web.pages.scope import experiment_of
from sandbox import queries
from sandbox.queries import Curve


@never_cache
@require_GET
def experiment_curves(request: HttpRequest, slug: str) -> JsonResponse:
    """{"last": point id, "curves": [{trial, variant, running, points: [[step, tokens, seconds, loss], …]}]}.

    Without `since` every curve, as at most 500 points that keep the spikes; with `since` only the points made after it.
    """
    experiment = experiment_of(request, slug)
    since = request.GET.get("since", "")
    found, last = (
        queries.curve_news(experiment, since=int(since)) if since.isdecimal() else queries.curves(experiment)
    )
    return JsonResponse({"last": last, "curves": [_curve(curve) for curve in found]})


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "trial": curve.trial, "variant": curve.variant, "running": curve.running,
        "points": [[dot.step, dot.tokens, round(dot.seconds, 3), dot.loss] for dot in curve.dots],
    }
