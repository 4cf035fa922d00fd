"""Filters that only the review pages use."""

from collections.abc import Sequence

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from review import queries
from review.diffs import FileDiff, pieces
from review.models import Decision, Risk

register = template.Library()


@register.filter
def shown(text: str) -> SafeString:
    """Code, escaped, with each character that cannot be seen as a marked escape."""
    return format_html_join("", "{}", ((_piece(piece, is_hidden),) for piece, is_hidden in pieces(text)))


@register.filter
def level(name: str) -> int:
    """A flag's level as a risk."""
    return Risk.HIGH if name == "high" else Risk.MEDIUM


@register.filter
def file_place(path: str, files: Sequence[FileDiff]) -> int:
    """Where the file is on the page."""
    return next((place for place, file in enumerate(files) if file.path == path), 0)


@register.filter
def seconds_left(decision: Decision) -> float:
    return queries.seconds_left(decision)


@register.filter
def split_words(text: str) -> list[str]:
    return text.split()


def _piece(text: str, is_hidden: bool) -> str:
    return format_html('<span class="unseen">{}</span>', text) if is_hidden else text
