"""What the rail on every page shows."""

from django.http import HttpRequest


def rail(request: HttpRequest) -> dict[str, object]:
    return {}
