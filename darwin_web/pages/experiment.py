"""The experiment page, and the buttons on it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from darwin_web.pages.proof import proof_of
from darwin_web.pages.scope import experiment_of, person
from darwin_web.pages.state import state_of
from evolution import experiments
from evolution.agents import OPENAI, REPLAY
from evolution.errors import DarwinError
from evolution.models import Experiment, Mode, Role, Status
from evolution.rights import may
from review.queries import waiting

CONTROLS = {"pause": experiments.pause, "resume": experiments.resume, "stop": experiments.stop}
FAR_AWAY = 999_999_999  # stands for a number in an address the page fills in


@require_GET
def experiment(request: HttpRequest, slug: str) -> HttpResponse:
    found = experiment_of(request, slug)
    waits = waiting(person(request)).filter(experiment=found).order_by("changed_at")
    return render(request, "pages/experiment.html", {
        "here": "experiments",
        "experiment": found,
        "state": state_of(found),
        "proof": proof_of(found),
        "waiting": waits[:6],
        "waiting_total": waits.count(),
        "may_propose": not found.is_over and may(person(request), found, Role.REVIEWER),
        "owns": may(person(request), found, Role.OWNER),
        "statuses": Status.choices,
        "asks_models": _asks_models(found),
        "variant_url": reverse("variant", args=[found.slug, FAR_AWAY]).replace(str(FAR_AWAY), "NUMBER"),
    })


def _asks_models(experiment: Experiment) -> bool:
    """Whether a language model is, was or may be asked: then what it says has its place on the page."""
    operators = experiment.strategies.filter(mode=Mode.OPERATORS)
    others = experiment.strategies.exclude(pk__in=operators).exclude(provider__startswith=REPLAY)
    return experiment.agent == OPENAI or others.exists() or experiment.calls.exists()


@require_POST
def experiment_control(request: HttpRequest, slug: str, action: str) -> HttpResponseBase:
    found = experiment_of(request, slug, role=Role.OWNER)
    actor = f"user:{person(request).get_username()}"
    try:
        CONTROLS[action](found, actor=actor, reason=request.POST.get("reason", "").strip()[:500])
    except DarwinError as error:
        messages.error(request, str(error))
    return redirect("experiment", slug=slug)
