"""Which price counts for which model, and tables that are none."""

from pathlib import Path

import pytest

from evolution import prices
from evolution.errors import BadInput, Infrastructure
from evolution.prices import Price

TABLE = {"gpt-x": Price(2, 8), "gpt-x-mini": Price(1, 2), "local/*": Price(0, 0), "local/big*": Price(3, 3)}


@pytest.mark.parametrize(("model", "price"), [
    ("gpt-x", Price(2, 8)), ("GPT-X", Price(2, 8)), ("gpt-x-2025-04-14", Price(2, 8)),
    ("gpt-x-mini-20250414", Price(1, 2)), ("gpt-x-pro", None), ("local/tiny", Price(0, 0)),
    ("local/big-2", Price(3, 3)),
    ("", None),
])
def test_the_longest_pattern_that_fits_counts_and_dated_versions_cost_the_same(
    model: str, price: Price | None
) -> None:
    assert prices.price_of(model, TABLE) == price


def test_dollars_are_counted_per_million_tokens() -> None:
    assert Price(2.0, 8.0).of(500_000, 250_000) == 3.0


def test_a_saved_table_takes_the_place_of_ours_whole(own_var: Path) -> None:
    own_var.mkdir()
    assert prices.table() == prices.OURS
    prices.save(TABLE)
    assert prices.table() == TABLE


@pytest.mark.parametrize("content", [
    "{", "[]", '{"a": 3}', '{"a": {"in": 1}}', '{"a": {"in": 1, "out": "2"}}', '{"a": {"in": -1, "out": 2}}',
    '{"a": {"in": 1, "out": 1e300}}', '{"": {"in": 1, "out": 1}}', '{"a": {"in": NaN, "out": 1}}',
])
def test_a_file_that_is_no_table_is_said_so_and_nothing_is_guessed(content: str, own_var: Path) -> None:
    own_var.mkdir()
    (own_var / prices.FILE).write_text(content)
    with pytest.raises(Infrastructure, match="is no table of prices"):
        prices.table()


def test_a_model_may_have_one_line_only() -> None:
    with pytest.raises(BadInput, match="twice"):
        prices.checked([("a", 1, 1), ("a", 2, 2)])
