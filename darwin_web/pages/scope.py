"""Who may see which experiment. What a person may not see does not exist for them: 404."""

from typing import cast

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from evolution.models import Experiment, Role, Variant
from evolution.rights import may, visible_to


def person(request: HttpRequest) -> User:
    """Who asks. LoginRequiredMiddleware lets nobody else through."""
    return cast(User, request.user)


def experiment_of(request: HttpRequest, slug: str, *, role: Role = Role.VIEWER) -> Experiment:
    """The experiment `slug`: Http404 when it is hidden from this person, PermissionDenied when `role` is missing."""
    experiments = visible_to(person(request)).select_related("baseline", "champion")
    experiment = get_object_or_404(experiments, slug=slug)
    if not may(person(request), experiment, role):
        raise PermissionDenied(f"Only a person who {role.label} in {experiment.name} can do this.")
    return experiment


def variant_of(request: HttpRequest, slug: str, number: int) -> Variant:
    variants = Variant.objects.select_related("experiment", "generation", "parent", "other_parent", "proposer")
    return get_object_or_404(variants, experiment=experiment_of(request, slug), number=number)
