"""The review pages. Each view checks rights, reads a form, calls one verb or one query, and renders."""

from collections.abc import Mapping
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from evolution.errors import BadInput, DarwinError
from evolution.models import Experiment, Kind, Role, Variant
from evolution.rights import may, visible_to
from review import decisions, queries
from review.forms import DecisionForm, choice_of, edited_files, sentence
from review.models import Decision, Verdict, VetoReason

CONFLICT, BAD, FORBIDDEN = 409, 400, 403


@require_safe
def queue(request: HttpRequest) -> HttpResponse:
    listed = queries.queue(_user(request), choice_of(request.GET))
    return _page(request, listed, listed.rows[0] if listed.rows else None)


@require_safe
def proposal(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    return _page(request, queries.queue(_user(request), choice_of(request.GET)), _variant(request, slug, number))


@require_POST
def decide(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    variant = _variant(request, slug, number)
    if not may(_user(request), variant.experiment, Role.REVIEWER):
        return _not_allowed(request, variant.experiment)
    form = DecisionForm(request.POST)
    listed = queries.queue(_user(request), choice_of(request.GET))
    _, following = listed.around(variant)
    edited: dict[str, str] = {}
    try:
        if not form.is_valid():
            raise BadInput(sentence(form))
        edited = edited_files(request.POST, _proposed(request, variant))
        decision = _decide(_user(request), variant, form.cleaned_data, edited)
    except DarwinError as error:
        return _refused(request, error, listed, variant, edited)
    return _done(request, decision, following)


@require_POST
def undo(request: HttpRequest, pk: int) -> HttpResponse:
    visible = Decision.objects.filter(variant__experiment__in=visible_to(_user(request)))
    decision = get_object_or_404(visible.select_related("variant__experiment", "replacement"), pk=pk)
    if not may(_user(request), decision.variant.experiment, Role.REVIEWER):
        return _not_allowed(request, decision.variant.experiment)
    try:
        taken = decisions.undo(decision, reviewer=_user(request))
    except DarwinError as error:
        return _refused(request, error, None, decision.variant, {})
    return _done(request, taken, decision.variant)


@require_POST
def withdraw(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    variant = _variant(request, slug, number)
    if not may(_user(request), variant.experiment, Role.REVIEWER):
        return _not_allowed(request, variant.experiment)
    try:
        taken = decisions.withdraw(variant, reviewer=_user(request))
    except DarwinError as error:
        return _refused(request, error, None, variant, {})
    return _done(request, taken, variant)


def _decide(user: User, variant: Variant, form: Mapping[str, Any], edited: Mapping[str, str]) -> Decision:
    verdict = form["verdict"]
    if verdict == Verdict.VETO:
        return decisions.veto(
            variant, reviewer=user, shown=form["shown"], category=form["category"], reason=form["reason"]
        )
    if verdict == Verdict.EDIT:
        return decisions.edit(variant, reviewer=user, shown=form["shown"], files=edited)
    if edited:  # accepting must never lose what somebody wrote
        raise BadInput("You changed the code: save it as an edit, or take your changes back and accept.")
    return decisions.accept(variant, reviewer=user, shown=form["shown"])


def _page(
    request: HttpRequest, listed: queries.Queue, variant: Variant | None, *, status: int = 200,
    edited: Mapping[str, str] | None = None,
) -> HttpResponse:
    shown = queries.proposal(_user(request), variant) if variant else None
    before, after = listed.around(variant) if variant else (None, None)
    context = {
        "here": "review",
        "queue": listed,
        "sorts": queries.SORTS,
        "proposal": shown,
        "texts": _texts(shown, edited or {}),
        "previous": before,
        "next": after,
        "pending": queries.pending(_user(request)),
        "reasons": VetoReason.choices,
        "nearest": shown.evidence.nearest if shown else None,
        "nearest_went": queries.outcome(shown.evidence.nearest) if shown and shown.evidence.nearest else "",
    }
    return render(request, "review/review.html", context, status=status)


def _texts(shown: queries.Proposal | None, edited: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the browser's editor is filled with, in the order of the files."""
    if shown is None:
        return []
    writable = shown.editable if shown.is_open and shown.may_decide else frozenset()
    return [
        {
            "path": file.path, "before": file.before or "", "after": file.after or "", "readable": file.readable,
            "edited": edited.get(file.path), "editable": file.path in writable,
        }
        for file in shown.files
    ]


def _proposed(request: HttpRequest, variant: Variant) -> dict[str, str]:
    shown = queries.proposal(_user(request), variant)
    return {file.path: file.after for file in shown.files if file.after is not None}


def _done(request: HttpRequest, decision: Decision, following: Variant | None) -> HttpResponse:
    """On to `following`, with the chosen filters; without one, back to the queue."""
    query = choice_of(request.GET).query
    address = reverse("review_queue")
    if following is not None:
        address = reverse("review_proposal", args=[following.experiment.slug, following.number])
    if _wants_json(request):
        return JsonResponse({"decision": decision.pk, "verdict": decision.verdict, "next": address + query})
    return HttpResponseRedirect(address + query)


def _refused(
    request: HttpRequest, error: DarwinError, listed: queries.Queue | None, variant: Variant, edited: Mapping[str, str]
) -> HttpResponse:
    """The sentence; and the page again with what was written, so that nobody types it twice."""
    status = BAD if isinstance(error, BadInput) else CONFLICT
    if _wants_json(request):
        return JsonResponse({"message": _sentence(error)}, status=status)
    messages.error(request, _sentence(error))
    listed = listed or queries.queue(_user(request), choice_of(request.GET))
    fresh = _variant(request, variant.experiment.slug, variant.number)
    return _page(request, listed, fresh, status=status, edited=edited)


def _not_allowed(request: HttpRequest, experiment: Experiment) -> HttpResponse:
    message = f"You may look at {experiment.name}, but not decide in it: ask its owner to make you a reviewer."
    if _wants_json(request):
        return JsonResponse({"message": message}, status=FORBIDDEN)
    return render(request, "review/not_allowed.html", {"here": "review", "message": message}, status=FORBIDDEN)


def _sentence(error: DarwinError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]


def _variant(request: HttpRequest, slug: str, number: int) -> Variant:
    """The proposal, or 404 when it is none or this person may not know of it."""
    variants = Variant.objects.filter(experiment__in=visible_to(_user(request)).values("pk"))
    variants = variants.select_related("experiment", "parent", "proposer", "generation")
    variant = get_object_or_404(variants, experiment__slug=slug, number=number)
    if variant.kind == Kind.BASELINE:
        raise Http404("the baseline is no proposal")
    return variant


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


def _user(request: HttpRequest) -> User:
    return cast(User, request.user)  # LoginRequiredMiddleware lets nobody else in
