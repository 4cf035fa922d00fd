"""The tree of every variant ever proposed."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from darwin_web.pages.experiment import FAR_AWAY
from darwin_web.pages.scope import experiment_of
from evolution.models import Experiment

FIELDS = (
    "number", "generation__number", "kind", "status", "title", "author", "perplexity", "mfu", "parent__number",
    "other_parent__number",
)


@require_GET
def lineage(request: HttpRequest, slug: str) -> HttpResponse:
    experiment = experiment_of(request, slug)
    return render(request, "pages/lineage.html", {
        "here": "experiments", "experiment": experiment, "count": experiment.variants.count(),
        "variant_url": reverse("variant", args=[experiment.slug, FAR_AWAY]).replace(str(FAR_AWAY), "NUMBER"),
    })


@never_cache
@require_GET
def lineage_data(request: HttpRequest, slug: str) -> JsonResponse:
    return JsonResponse(tree_of(experiment_of(request, slug)))


def tree_of(experiment: Experiment) -> dict[str, Any]:
    """{"fields": […], "rows": [[…], …], "champion": number}: rows without names, as there may be ten thousand."""
    return {
        "fields": ["n", "generation", "kind", "status", "title", "author", "perplexity", "mfu", "parent", "other"],
        "rows": [list(row) for row in experiment.variants.values_list(*FIELDS)],
        "champion": experiment.champion.number if experiment.champion else None,
        "replicated": False,  # perplexity and MFU are of one screening run each
    }
