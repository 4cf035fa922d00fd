"""One-time login links, as the first start prints one."""

import hashlib
import secrets
from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from darwin_web.models import LoginLink

LIFETIME = timedelta(hours=24)
OWNER = "owner"


def owner() -> User:
    """The first superuser; made, without a password, where there is none."""
    first = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    return first or User.objects.create_superuser(OWNER, password=None)


def make(user: User) -> str:
    """A new token for `user`: 32 random bytes, good once within LIFETIME. Links that are long over are forgotten."""
    now = timezone.now()
    LoginLink.objects.filter(expires_at__lt=now - LIFETIME).delete()
    token = secrets.token_urlsafe(32)
    LoginLink.objects.create(token_sha256=_hash(token), user=user, expires_at=now + LIFETIME)
    return token


def spend(token: str) -> User | None:
    """Whom `token` lets in, or None when it is unknown, used, expired, or its account is closed."""
    now = timezone.now()
    link = LoginLink.objects.select_related("user").filter(token_sha256=_hash(token)).first()
    # The WHERE clause is the lock: of two clicks at once one updates no row.
    if link is None or not link.user.is_active or not LoginLink.objects.filter(
        pk=link.pk, used_at=None, expires_at__gt=now
    ).update(used_at=now):
        return None
    return link.user


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
