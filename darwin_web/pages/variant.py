"""The variant page: code, difference, who decided and why, trials, numbers, family."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from darwin_web.pages import code
from darwin_web.pages.figures import change, claims, perplexity_error
from darwin_web.pages.proof import Met, meeting
from darwin_web.pages.scope import person, variant_of
from evolution import assessing
from evolution.genomes import store_of
from evolution.models import Contest, Role, Status, Variant
from evolution.rights import may
from sandbox.models import Purpose, Verdict
from sandbox.queries import trials_of

NEIGHBOURS = 500  # offered for comparison


@dataclass(frozen=True)
class Figure:
    """A number of the variant beside the same number of its parent and of the baseline; changes are shares."""

    perplexity_error: float | None
    to_parent: float | None
    to_baseline: float | None
    mfu_to_parent: float | None


@require_GET
def variant(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    found = variant_of(request, slug, number)
    view = "code" if request.GET.get("view") == "code" or found.parent is None else "diff"
    return render(request, "pages/variant.html", {
        "here": "experiments",
        "experiment": found.experiment,
        "variant": found,
        "figure": _figure(found),
        "view": view,
        "children": found.children.all(),
        "other_children": found.other_children.all(),
        "checks": found.checks.all(),
        "decisions": found.decisions.select_related("reviewer", "replacement"),
        "transitions": found.transitions.all(),
        "trials": trials_of(found),
        "claims": claims(found),
        "replicates": found.replicates.all(),
        "opinions": found.assessments.select_related("peer"),
        "unread": assessing.unread(found),
        "met": _met(found),
        "scored": trials_of(found).filter(purpose=Purpose.SCORE, verdict=Verdict.MEASURED).last(),
        "waits_for_review": found.status == Status.IN_REVIEW,
        "may_propose": not found.experiment.is_over and may(person(request), found.experiment, Role.REVIEWER),
        **(_code(request, found) if view == "code" else _difference(request, found)),
    })


def _met(found: Variant) -> list[Met]:
    """Every contest it took part in, as challenger or as champion."""
    taken = Contest.objects.filter(Q(challenger=found) | Q(champion=found)).select_related("champion", "challenger")
    return [meeting(one) for one in taken.order_by("-number")]


def _figure(found: Variant) -> Figure:
    parent, baseline = found.parent, found.experiment.baseline
    return Figure(
        perplexity_error=perplexity_error(found),
        to_parent=change(found.perplexity, parent.perplexity if parent else None),
        to_baseline=None if found == baseline else change(found.perplexity, baseline.perplexity if baseline else None),
        mfu_to_parent=change(found.mfu, parent.mfu if parent else None),
    )


def _code(request: HttpRequest, found: Variant) -> dict[str, Any]:
    files = store_of(found.experiment).files(found.commit)
    path = request.GET.get("file") or next((name for name in sorted(files) if name.endswith(".py")), "")
    if path and path not in files:
        raise Http404(f"v{found.number} has no file of this name.")
    lines = code.highlighted(path, code.text_of(files[path])) if path else []
    return {"files": sorted(files), "path": path, "lines": list(enumerate(lines, start=1))}


def _difference(request: HttpRequest, found: Variant) -> dict[str, Any]:
    against = _against(request, found)
    store = store_of(found.experiment)
    others = found.experiment.variants.exclude(pk=found.pk).order_by("number")[:NEIGHBOURS]
    return {
        "against": against,
        "others": others,
        "diffs": code.difference(store.files(against.commit), store.files(found.commit)),
    }


def _against(request: HttpRequest, found: Variant) -> Variant:
    asked = request.GET.get("against", "")
    if asked.isdecimal():
        other = found.experiment.variants.filter(number=int(asked)).first()
        if other is None:
            raise Http404(f"There is no variant {asked} in this experiment.")
        return other
    assert found.parent is not None, "the view shows a baseline's code, not a difference"  # noqa: S101
    return found.parent
