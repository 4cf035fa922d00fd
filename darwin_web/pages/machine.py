"""What the workers run on: read from what the sandbox worker reported, as this process touches no container engine."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET

from darwin_web.pages.scope import person
from evolution.rights import visible_to
from sandbox.models import Attempt, AttemptState


def report() -> dict[str, Any] | None:
    """{at, driver, why, warning, drivers, devices, image} as a sandbox worker wrote it, None before the first did."""
    try:
        found = json.loads((Path(settings.DARWIN_VAR) / "machine.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


@require_GET
def machine(request: HttpRequest) -> HttpResponse:
    found = report()
    running = Attempt.objects.filter(
        trial__variant__experiment__in=visible_to(person(request))
    ).exclude(state=AttemptState.ENDED)
    return render(request, "pages/machine.html", {
        "here": "machine", "report": found, "at": _moment(found),
        "running": running.select_related("trial__variant__experiment").order_by("created_at"),
    })


def _moment(found: dict[str, Any] | None) -> datetime | None:
    try:
        return parse_datetime(str(found["at"])) if found and "at" in found else None
    except ValueError:
        return None
