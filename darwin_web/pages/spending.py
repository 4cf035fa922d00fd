"""What calls of language models cost: by day and by strategy, each call with its end, and the budgets."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, F, Q, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from darwin_web.pages.scope import experiment_of, person
from evolution import spending
from evolution.errors import DarwinError
from evolution.models import Call, CallState, Experiment, Role
from evolution.options import RANGES
from evolution.rights import may

PER_PAGE = 50
DAYS = 14


def _dollars(name: str, label: str) -> forms.FloatField:
    least, most = RANGES[name]
    widget = forms.NumberInput({"class": "input", "step": "any", "placeholder": "no limit"})
    return forms.FloatField(label=label, required=False, min_value=least, max_value=most, widget=widget)


class Budgets(forms.Form):
    """Dollars; an empty field is no limit."""

    budget_usd = _dollars("budget_usd", "In all")
    budget_usd_day = _dollars("budget_usd_day", "In 24 hours")
    budget_usd_strategy = _dollars("budget_usd_strategy", "For each strategy")


@require_http_methods(["GET", "POST"])
def experiment_spending(request: HttpRequest, slug: str) -> HttpResponseBase:
    if request.method == "POST":
        return _change(request, experiment_of(request, slug, role=Role.OWNER))
    found = experiment_of(request, slug)
    return _shown(request, found, Budgets(initial={name: getattr(found, name) for name in spending.BUDGETS}))


def _change(request: HttpRequest, experiment: Experiment) -> HttpResponseBase:
    form = Budgets(request.POST)
    if not form.is_valid():
        return _shown(request, experiment, form)
    try:
        spending.set_budgets(experiment, form.cleaned_data, actor=f"user:{person(request).get_username()}")
    except DarwinError as error:
        messages.error(request, str(error))
    return redirect("experiment_spending", slug=experiment.slug)


def _shown(request: HttpRequest, experiment: Experiment, form: Budgets) -> HttpResponse:
    calls = experiment.calls.all()
    newest = calls.select_related("strategy", "target").order_by("-id")
    return render(request, "pages/spending.html", {
        "here": "experiments", "experiment": experiment, "form": form,
        "owns": may(person(request), experiment, Role.OWNER),
        "page": Paginator(newest, PER_PAGE).get_page(request.GET.get("page")),
        "total": _sums(calls), "limits": _limits(experiment),
        "why_not": spending.why_not(experiment) if not experiment.is_over else "",
        "strategies": _grouped(calls, F("strategy__name")), "purposes": _grouped(calls, F("purpose")),
        "days": _days(calls),
    })


def _limits(experiment: Experiment) -> list[dict[str, Any]]:
    """Each budget that is set, and how much of it is gone."""
    everything = experiment.calls.all()
    found = [
        ("in all", experiment.budget_usd, spending.spent(everything)),
        ("in 24 hours", experiment.budget_usd_day, spending.spent(spending.in_a_day(everything))),
    ]
    if experiment.budget_usd_strategy is not None:
        found += [
            (f"strategy {one.name}", experiment.budget_usd_strategy, spending.spent(everything.filter(strategy=one)))
            for one in experiment.strategies.all()
        ]
    return [
        {"name": name, "limit": limit, "spent": spent, "share": min(1.0, spent / limit) if limit else 1.0}
        for name, limit, spent in found if limit is not None
    ]


def _sums(calls: QuerySet[Call]) -> dict[str, Any]:
    return calls.aggregate(
        count=Count("id"), failed=Count("id", filter=Q(state=CallState.FAILED)),
        tokens_in=Sum("tokens_in", default=0), tokens_out=Sum("tokens_out", default=0),
        unpriced=Count("id", filter=Q(cost_usd=None) & ~Q(state=CallState.RESERVED)),
    ) | {"usd": spending.spent(calls), "day": spending.spent(spending.in_a_day(calls))}


def _grouped(calls: QuerySet[Call], key: Any) -> list[dict[str, Any]]:
    """Calls, failures, tokens and dollars by `key`, the dearest first."""
    rows = calls.values(key=key).annotate(
        count=Count("id"), failed=Count("id", filter=Q(state=CallState.FAILED)),
        tokens=Sum(F("tokens_in") + F("tokens_out")), usd=spending.total(),
    ).order_by("-usd", "key")
    return [dict(row) for row in rows]


def _days(calls: QuerySet[Call]) -> list[dict[str, Any]]:
    """The same by day (UTC), the newest first, for two weeks."""
    recent = calls.filter(started_at__gt=timezone.now() - timedelta(days=DAYS))
    rows = _grouped(recent, TruncDate("started_at"))
    return sorted(rows, key=lambda row: row["key"], reverse=True)
