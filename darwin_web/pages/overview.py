"""The overview: what runs, what waits for you, and how to begin. And the list of all experiments."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.core.paginator import Paginator
from django.db.models import Min, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from darwin_web.pages.figures import Measured, measured
from darwin_web.pages.progress import Progress, progress_of
from darwin_web.pages.scope import person
from evolution.models import Experiment, ExperimentStatus, Status
from evolution.rights import visible_to
from review.queries import waiting

RECENT = 8
PER_PAGE = 25


@dataclass(frozen=True)
class Line:
    """One experiment in a list."""

    experiment: Experiment
    progress: Progress
    best: Measured | None
    by_generation: list[float]  # best perplexity so far after each generation


@require_GET
def overview(request: HttpRequest) -> HttpResponse:
    experiments = _listed(visible_to(person(request)))
    waits = waiting(person(request)).order_by("changed_at")
    return render(request, "pages/overview.html", {
        "here": "overview",
        "lines": _lines(experiments[:RECENT]),
        "total": experiments.count(),
        "running": experiments.filter(status=ExperimentStatus.RUNNING).count(),
        "waiting": waits[:RECENT],
        "waiting_total": waits.count(),
    })


@require_GET
def experiments(request: HttpRequest) -> HttpResponse:
    found = _listed(visible_to(person(request)))
    query, status = request.GET.get("q", "").strip(), request.GET.get("status", "")
    if query:
        found = found.filter(name__icontains=query)
    if status in ExperimentStatus.values:
        found = found.filter(status=status)
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "pages/experiments.html", {
        "here": "experiments", "lines": _lines(page.object_list), "page": page, "query": query, "status": status,
        "statuses": ExperimentStatus.choices, "any": visible_to(person(request)).exists(),
    })


def _listed(experiments: QuerySet[Experiment]) -> QuerySet[Experiment]:
    return experiments.select_related("baseline", "champion", "owner")


def _lines(experiments: Iterable[Experiment]) -> list[Line]:
    return [_line(experiment) for experiment in experiments]


def _line(experiment: Experiment) -> Line:
    scored = experiment.variants.filter(perplexity__isnull=False).exclude(status=Status.REJECTED)
    return Line(
        experiment=experiment, progress=progress_of(experiment),
        best=measured(scored.order_by("perplexity").first(), experiment.baseline),
        by_generation=_best_so_far(
            scored.order_by("generation__number").values("generation__number").annotate(best=Min("perplexity"))
            .values_list("best", flat=True)
        ),
    )


def _best_so_far(values: Iterable[float]) -> list[float]:
    found: list[float] = []
    for value in values:
        found.append(min(value, found[-1]) if found else value)
    return found
