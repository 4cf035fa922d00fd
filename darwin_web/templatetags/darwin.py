"""Filters every page uses: statuses as shapes and words, numbers with units, short ids, times, untrusted text."""

import json
import re
import unicodedata
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import template
from django.conf import settings
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from evolution.models import Status

register = template.Library()

# One table for the pages and for the browser's charts.
MARKS: dict[str, dict[str, str]] = json.loads((settings.BASE_DIR / "static/js/lib/marks.json").read_text())

NOTHING = "–"


def _missing(value: object) -> bool:
    """Templates give an empty text for what a missing object would have had."""
    return value is None or value == ""


@register.filter
def word(status: str) -> str:
    return MARKS[status]["word"]


@register.filter
def tone(status: str) -> str:
    return MARKS[status]["tone"]


@register.filter
def meaning(status: str) -> str:
    return Status(status).label


@register.filter
def mark(status: str) -> SafeString:
    """The status's shape; the word stands beside it."""
    path = MARKS[status]["path"]
    return format_html('<svg class="glyph" viewBox="0 0 12 12" aria-hidden="true"><path d="{}"/></svg>', path)


@register.filter
def fixed(value: float | None, digits: int = 2) -> str:
    return NOTHING if value is None or _missing(value) else f"{value:,.{digits}f}"


@register.filter
def percent(value: float | None, digits: int = 1) -> str:
    """A share, 0 … 1, as per cent."""
    return NOTHING if value is None or _missing(value) else f"{100 * value:.{digits}f} %"


@register.filter
def signed(share: float | None, digits: int = 1) -> str:
    """A change, as per cent with its sign: −0.021 -> "−2.1 %"."""
    return "" if share is None or _missing(share) else f"{'−' if share < 0 else '+'}{abs(100 * share):.{digits}f} %"


@register.filter
def nats(value: float | None) -> str:
    """A gain with its sign: 0.0213 -> "+0.0213"."""
    return NOTHING if value is None or _missing(value) else f"{'−' if value < 0 else '+'}{abs(value):.4f}"


@register.filter
def evidence(value: float) -> str:
    """An e-value: two digits that count, whatever its size; a large one is no more than that."""
    return "> 9,999" if value > 9_999 else f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


@register.filter
def run_mark(status: str) -> str:
    """The shape beside an experiment's status."""
    return {"running": "▶", "paused": "⏸", "finished": "✓", "stopped": "■", "failed": "✕"}[status]


@register.filter
def sparkline(values: list[float]) -> SafeString | str:
    """A small line of the values, lower is better; nothing while there are fewer than two."""
    if len(values) < 2:
        return format_html('<span class="faint">{}</span>', NOTHING)
    low, high = min(values), max(values)
    span = high - low or 1.0
    points = [(2 + 84 * at / (len(values) - 1), 3 + 16 * (high - value) / span) for at, value in enumerate(values)]
    text = ", ".join(f"{value:.2f}" for value in values)
    return format_html(
        '<svg class="spark" viewBox="0 0 88 22" role="img" aria-label="{}"><polyline points="{}"/>'
        '<circle cx="{}" cy="{}" r="2"/></svg>',
        f"best perplexity after each generation: {text}", " ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        f"{points[-1][0]:.1f}", f"{points[-1][1]:.1f}",
    )


@register.filter
def short_count(value: float | None) -> str:
    """1,234 -> 1.2 k; 812_345 -> 812 k; with three digits at most."""
    if value is None or _missing(value):
        return NOTHING
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            scaled = value / size
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f} {letter}"
    return f"{value:g}"


@register.filter
def duration(seconds: float | None) -> str:
    if seconds is None or _missing(seconds):
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{seconds / 3600:.1f} h"


@register.filter
def ago(moment: datetime | None) -> SafeString | str:
    """A <time> that says how long ago; static/js/lib/times.js keeps it true, the exact time is in its title."""
    if moment is None or _missing(moment):
        return NOTHING
    seconds = (timezone.now() - moment).total_seconds()
    text = "just now" if seconds < 5 else f"{duration(seconds)} ago"
    iso = moment.isoformat(timespec="seconds")
    return format_html('<time datetime="{}" title="{}" data-ago>{}</time>', iso, iso, text)


@register.filter
def visible(text: str) -> str:
    """`text` with control, ANSI and bidirectional characters shown as escapes: one must see what one approves."""
    return re.sub(r"[^\n\t -~]", _escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp")
    return character.encode("unicode_escape").decode("ascii", "replace") if hidden else character


@register.filter
def actor(name: str) -> str:
    """"operator:rms_norm" -> "rms_norm", with the kind before it where that matters."""
    kind, _, rest = name.partition(":")
    return {"operator": f"built-in operator {rest}", "agent": f"agent {rest}", "rule": f"rule “{rest}”"}.get(
        kind, rest or kind
    )


@register.filter
def assessor(name: str) -> str:
    """Who says something about a variant: "agent:gpt-x" -> "agent gpt-x"; numbers alone are "the record"."""
    return "the record" if name == "record" else actor(name)


@register.filter
def get(table: dict[str, Any], key: str) -> Any:
    return table.get(key)


def _size(count: float) -> str:
    return f"{short_count(count)}B"


def _nats(value: float) -> str:
    return f"{value:.1e} nats" if value else "0 nats"


def _micro(seconds: float) -> str:
    return f"{1e6 * seconds:.3g} µs"


# What a trial's result tells beside the variant's own columns: its name there, its name here, how it is written.
DETAILS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("setup_device_seconds", "set-up on the device", duration),
    ("warm_seconds", "warm-up", duration),
    ("peak_memory_bytes", "memory at most", _size),
    ("saved_bytes", "saved", _size),
    ("genome_bytes", "genome size", _size),
    ("scored_tokens", "tokens scored", short_count),
    ("flops_to_formula", "FLOPs counted ÷ 6 N", "{:.2f}".format),
    ("load_seconds", "judge: loading", duration),
    ("judge_seconds_per_token", "judge: per token", _micro),
    ("prefix_seconds_per_token", "judge: per token of prefixes", _micro),
    ("correction", "prefix audit", _nats),
    ("drift", "asked again", _nats),
)


@register.filter
def details(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Set-up, memory, sizes and what the judge needed and found, as far as the result has them."""
    return [(name, write(result[key])) for key, name, write in DETAILS if isinstance(result.get(key), int | float)]
