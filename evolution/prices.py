"""What models cost: a table of patterns in var/prices.json, which people edit; ours where there is none.

Prices are US dollars per million tokens, (in, out). A model's price is that of the longest pattern that matches its
name; a pattern also stands for the dated versions of what it names (gpt-4.1 for gpt-4.1-2025-04-14).
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from django.conf import settings

from evolution import durable
from evolution.errors import BadInput, Infrastructure

FILE = "prices.json"
MOST = 100_000.0  # USD per million tokens
MOST_LINES = 500
MAX_PATTERN = 200
DATED = re.compile(r"-\d{4}-?\d{2}-?\d{2}$")


class Price(NamedTuple):
    """US dollars per million tokens."""

    tokens_in: float
    tokens_out: float

    def of(self, tokens_in: int, tokens_out: int) -> float:
        """US dollars for so many tokens."""
        return (self.tokens_in * tokens_in + self.tokens_out * tokens_out) / 1e6


Table = Mapping[str, Price]

# OpenAI's list prices of March 2026; docs/operations.md says so. Cached and batched tokens cost less there.
OURS: Table = {
    "gpt-4.1": Price(2.00, 8.00), "gpt-4.1-mini": Price(0.40, 1.60), "gpt-4.1-nano": Price(0.10, 0.40),
    "gpt-4o": Price(2.50, 10.00), "gpt-4o-mini": Price(0.15, 0.60),
    "gpt-5": Price(1.25, 10.00), "gpt-5-mini": Price(0.25, 2.00), "gpt-5-nano": Price(0.05, 0.40),
    "gpt-5.1": Price(1.25, 10.00), "gpt-5.4": Price(2.50, 15.00),
    "o3": Price(2.00, 8.00), "o4-mini": Price(1.10, 4.40),
}


def table() -> Table:
    """The prices that count now. Infrastructure when the file cannot be understood: no price is guessed."""
    path = _path()
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return OURS
    except (OSError, UnicodeDecodeError) as error:
        raise Infrastructure(f"{path} cannot be read ({error}): mend it, or remove it") from error
    try:
        return parsed(json.loads(content))
    except (ValueError, RecursionError, BadInput) as error:
        raise Infrastructure(f"{path} is no table of prices ({error}): mend it, or remove it") from error


def price_of(model: str, prices: Table) -> Price | None:
    """The price of `model`; None where no pattern matches."""
    name = model.lower()
    names = (name, DATED.sub("", name))
    matching = [pattern for pattern in prices if any(fnmatchcase(one, pattern.lower()) for one in names)]
    return prices[max(matching, key=len)] if matching else None


def parsed(given: Any) -> dict[str, Price]:
    """{"pattern": {"in": USD, "out": USD}} as a table; BadInput says what is wrong with it."""
    if not isinstance(given, dict):
        raise BadInput('a table of prices is {"model": {"in": USD, "out": USD}}, per million tokens')
    return checked((pattern, *_pair(pattern, one)) for pattern, one in given.items())


def checked(lines: Iterable[tuple[str, float, float]]) -> dict[str, Price]:
    """(pattern, in, out) as a table; BadInput says which line is none."""
    found: dict[str, Price] = {}
    for pattern, *pair in lines:
        if not pattern.strip() or len(pattern) > MAX_PATTERN or not pattern.isprintable():
            raise BadInput(f"{pattern!a} is no name of a model: write one, with * for any letters")
        if pattern in found:
            raise BadInput(f"{pattern} is there twice: keep one line")
        if not all(math.isfinite(value) and 0 <= value <= MOST for value in pair):
            raise BadInput(f"the prices of {pattern} must be between 0 and {MOST:,.0f} dollars per million tokens")
        found[pattern] = Price(*pair)
    if len(found) > MOST_LINES:
        raise BadInput(f"at most {MOST_LINES} models can have a price: use patterns")
    return found


def save(prices: Table) -> None:
    """Write the table; from then on the file counts, and ours no more."""
    lines = {pattern: {"in": price.tokens_in, "out": price.tokens_out} for pattern, price in prices.items()}
    durable.write(_path(), (json.dumps(lines, indent=1) + "\n").encode())


def _pair(pattern: str, one: Any) -> tuple[float, float]:
    values = (one.get("in"), one.get("out")) if isinstance(one, dict) else (None, None)
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        raise BadInput(f'the price of {pattern} must be {{"in": USD, "out": USD}} per million tokens')
    return float(values[0]), float(values[1])  # type: ignore[arg-type]


def _path() -> Path:
    return Path(settings.DARWIN_VAR) / FILE
