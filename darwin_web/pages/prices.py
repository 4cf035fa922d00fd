"""What models cost, for every experiment, and the switch that stops all of their calls. For administrators."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from darwin_web.pages.scope import person
from evolution import prices as table
from evolution import spending
from evolution.errors import BadInput, DarwinError

BLANK_LINES = 3


@require_http_methods(["GET", "POST"])
def prices(request: HttpRequest) -> HttpResponseBase:
    if request.method == "GET":
        return _shown(request, _lines())
    _require_administrator(request)
    try:
        table.save(table.checked(_parsed(request)))
    except DarwinError as error:
        messages.error(request, str(error))
        return _shown(request, _posted(request))
    messages.success(request, "The prices are saved; they count from the next call on.")
    return redirect("prices")


@require_POST
def calls_switch(request: HttpRequest) -> HttpResponseBase:
    """Stop or allow all calls of models of all experiments."""
    _require_administrator(request)
    if request.POST.get("calls") == "stop":
        spending.stop_calls(actor=f"user:{person(request).get_username()}")
    elif request.POST.get("calls") == "allow":
        spending.allow_calls()
    return redirect("prices")


def _shown(request: HttpRequest, lines: list[tuple[str, Any, Any]]) -> HttpResponse:
    note = spending.stopped()
    return render(request, "pages/prices.html", {
        "here": "machine", "lines": lines, "blank": range(BLANK_LINES), "may_edit": person(request).is_superuser,
        "stopped": note is not None, "stopped_by": (note or {}).get("by", ""),
        "stopped_at": spending.moment_of(note) if note else None, "most": table.MOST,
    })


def _lines() -> list[tuple[str, Any, Any]]:
    return [(pattern, price.tokens_in, price.tokens_out) for pattern, price in sorted(_table().items())]


def _table() -> table.Table:
    try:
        return table.table()
    except DarwinError:  # a file that cannot be read is shown as no price at all: saving replaces it
        return {}


def _posted(request: HttpRequest) -> list[tuple[str, str, str]]:
    """The lines as they were sent; one without a name is none."""
    columns = [request.POST.getlist(name) for name in ("model", "in", "out")]
    return [(name.strip(), came, went) for name, came, went in zip(*columns, strict=False) if name.strip()]


def _parsed(request: HttpRequest) -> list[tuple[str, float, float]]:
    try:
        return [(name, float(came), float(went)) for name, came, went in _posted(request)]
    except ValueError:
        raise BadInput("a price must be a number of dollars per million tokens: fill in both, or empty the name"
                       ) from None


def _require_administrator(request: HttpRequest) -> None:
    """Prices and the switch are for all experiments: an owner of one may not change them."""
    if not person(request).is_superuser:
        raise PermissionDenied("Only an administrator of this installation can do this.")
