"""The memory page: what is remembered and how it is told, and the corrections that people make to it"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from darwin_web.pages.scope import experiment_of, person, variant_of
from evolution import briefs, corrections, recall, switching
from evolution.errors import BadInput, DarwinError
from evolution.knowledge import Item, Knowledge, Outcome, known
from evolution.models import CorrectionAction, Experiment, MemoryMode, Role, Status, Variant
from evolution.rights import may
from evolution.telling import by_family, by_region

PER_PAGE = 40
GROUPS = 12  # regions shown at once
OFFERED = 200  # variants that a brief can be shown for


@dataclass(frozen=True)
class Filters:
    """What a person narrowed the items down to."""

    family: str
    outcome: str
    words: str

    def keeps(self, item: Item) -> bool:
        text = f"v{item.number} {item.title} {item.author} {' '.join(item.regions)}".lower()
        return (
            (not self.family or item.family == self.family) and (not self.outcome or item.outcome == self.outcome)
            and self.words.lower() in text
        )


@dataclass(frozen=True)
class Preview:
    """The part of a brief that comes from the memory, for one target and one proposer, exactly as it would be told."""

    target: Variant
    proposer: Variant | None
    told: briefs.Told
    characters: int
    not_asked: Sequence[str]  # operators that a veto stands against


@require_GET
def memory(request: HttpRequest, slug: str) -> HttpResponse:
    experiment = experiment_of(request, slug)
    knowledge = known(experiment)
    filters = Filters(*(request.GET.get(name, "").strip() for name in ("family", "outcome", "q")))
    regions = by_region(knowledge.items.values())
    return render(request, "pages/memory.html", {
        "here": "experiments", "experiment": experiment, "knowledge": knowledge, "filters": filters,
        "families": by_family(knowledge.items.values()), "regions": regions[:GROUPS],
        "more_regions": max(len(regions) - GROUPS, 0), "vetoes": _vetoes(knowledge),
        "returns": sum(item.returns for item in knowledge.items.values()),
        "pinned": sum(item.standing.pinned for item in knowledge.items.values()),
        "page": Paginator(_listed(knowledge, filters), PER_PAGE).get_page(request.GET.get("page")),
        "outcomes": list(Outcome), "modes": MemoryMode.choices, "allowance": recall.allowance(),
        "preview": _preview(request, experiment), "offered": _offered(experiment),
        "owns": may(person(request), experiment, Role.OWNER),
        "corrects": may(person(request), experiment, Role.REVIEWER),
    })


@require_POST
def memory_correct(request: HttpRequest, slug: str, number: int) -> HttpResponseBase:
    """One correction of what is remembered of one variant."""
    experiment_of(request, slug, role=Role.REVIEWER)
    variant = variant_of(request, slug, number)
    try:
        action = _action(request.POST.get("action", ""))
        corrections.correct(variant, action, actor=_actor(request), text=request.POST.get("text", ""))
        messages.success(request, f"v{number}: {action.label}.")
    except DarwinError as error:
        messages.error(request, str(error))
    return redirect("memory", slug=slug)


@require_POST
def memory_switch(request: HttpRequest, slug: str) -> HttpResponseBase:
    experiment = experiment_of(request, slug, role=Role.OWNER)
    mode = request.POST.get("mode", "")
    try:
        if mode not in MemoryMode.values:
            raise BadInput("the memory is on, frozen or off: choose one of these")
        switching.switch(experiment, MemoryMode(mode), actor=_actor(request))
    except DarwinError as error:
        messages.error(request, str(error))
    return redirect("memory", slug=slug)


def _action(given: str) -> CorrectionAction:
    if given not in CorrectionAction.values:
        raise BadInput("an item can be pinned, corrected, revoked and restored: choose one of these")
    return CorrectionAction(given)


def _actor(request: HttpRequest) -> str:
    return f"user:{person(request).get_username()}"


def _vetoes(knowledge: Knowledge) -> list[Item]:
    """Vetoes that stand or were revoked, those that came back most often first."""
    found = [item for item in knowledge.items.values() if item.outcome == Outcome.VETOED]
    return sorted(found, key=lambda item: (-item.returns, -item.number))


def _listed(knowledge: Knowledge, filters: Filters) -> Sequence[Item]:
    kept = [item for item in knowledge.items.values() if filters.keeps(item)]
    return sorted(kept, key=lambda item: (not item.standing.pinned, -item.number))


def _offered(experiment: Experiment) -> QuerySet[Variant]:
    """Whose code may be changed next, or was the beginning."""
    breeds = experiment.variants.filter(Q(status=Status.SURVIVED) | Q(parent__isnull=True))
    return breeds.order_by("-number")[:OFFERED]


def _preview(request: HttpRequest, experiment: Experiment) -> Preview | None:
    target = _chosen(request, experiment, "for") or experiment.champion or experiment.baseline
    if target is None:
        return None
    others = experiment.variants.filter(status=Status.SURVIVED).exclude(pk=target.pk)
    proposer = _chosen(request, experiment, "as") or others.order_by("-number").first()
    told = briefs.told(experiment, target, proposer=proposer)
    characters = len(told.identity) + sum(len(line) + 1 for line in (*told.lineage, *told.recalled))
    return Preview(target, proposer, told, characters, sorted(told.vetoed))


def _chosen(request: HttpRequest, experiment: Experiment, name: str) -> Variant | None:
    asked = request.GET.get(name, "")
    if not asked:
        return None
    found = experiment.variants.filter(number=int(asked)).first() if asked.isdecimal() and len(asked) < 10 else None
    if found is None:
        raise Http404("There is no such variant in this experiment.")
    return found
