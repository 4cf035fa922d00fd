"""Who may see and do what in an experiment."""

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Q, QuerySet

from evolution.models import Experiment, Membership, Role

RANK = {Role.VIEWER: 0, Role.REVIEWER: 1, Role.OWNER: 2}

User = AbstractBaseUser | AnonymousUser


def visible_to(user: User) -> QuerySet[Experiment]:
    """The experiments `user` may look at; what is not among them does not exist for this person."""
    if not user.is_authenticated:
        return Experiment.objects.none()
    if _is_superuser(user):
        return Experiment.objects.all()
    return Experiment.objects.filter(Q(owner_id=user.pk) | Q(members__user_id=user.pk)).distinct()


def role_of(user: User, experiment: Experiment) -> Role | None:
    """The highest role of `user` in `experiment`, or None for a stranger."""
    if not user.is_authenticated:
        return None
    if _is_superuser(user) or experiment.owner_id == user.pk:
        return Role.OWNER
    membership = Membership.objects.filter(experiment=experiment, user_id=user.pk).first()
    return Role(membership.role) if membership else None


def may(user: User, experiment: Experiment, role: Role) -> bool:
    """Whether `user` has at least `role` in `experiment`."""
    held = role_of(user, experiment)
    return held is not None and RANK[held] >= RANK[role]


def _is_superuser(user: User) -> bool:
    """An account that was switched off has no rights left."""
    return bool(getattr(user, "is_superuser", False)) and user.is_active
