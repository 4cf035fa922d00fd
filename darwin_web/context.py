"""What the rail on every page shows."""

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from review.queries import waiting


def rail(request: HttpRequest) -> dict[str, object]:
    """`review_count`: how many proposals wait for a verdict. Counted only when a page shows it."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    return {"review_count": SimpleLazyObject(lambda: waiting(user).count())}
