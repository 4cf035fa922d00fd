import math
from typing import Any

import pytest

from trainer.harness.outside.reports import Report, Reports, clean


def report(step: int) -> Report:
    return Report(step=step, tokens=0, seconds=0.0, loss=1.0, numbers={})


def test_the_servers_counts_are_added() -> None:
    found = clean({"step": 3, "loss": 2.5, "numbers": {"lr": 1}}, tokens=768, seconds=1.5)
    assert found == Report(step=3, tokens=768, seconds=1.5, loss=2.5, numbers={"lr": 1.0})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, "2", True, [], 10**400])
def test_what_is_no_finite_number_is_none(value: Any) -> None:
    found = clean({"step": 0, "loss": value, "numbers": {"x": value}}, tokens=0, seconds=0.0)
    assert found.loss is None
    assert found.numbers == {"x": None}


@pytest.mark.parametrize("message", [
    {}, {"step": -1}, {"step": "1"}, {"step": True}, {"step": 2**60}, {"step": 0, "numbers": []},
    {"step": 0, "numbers": {str(n): 1 for n in range(33)}},
])
def test_what_is_no_report_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="report"):
        clean(message, tokens=0, seconds=0.0)


def test_long_names_are_cut() -> None:
    (name,) = clean({"step": 0, "numbers": {"n" * 100: 1}}, tokens=0, seconds=0.0).numbers
    assert len(name) == 40


def test_of_many_reports_the_first_and_the_last_are_kept() -> None:
    kept: list[Report] = []
    reports = Reports(kept.append)
    for step in range(100_000):
        reports.add(report(step))
        if step > 500 and len(kept) > 1:
            break
    reports.flush()
    assert kept[0].step == 0
    assert kept[-1].step == step
    assert len(kept) < step / 5


def test_flushing_twice_delivers_once() -> None:
    kept: list[Report] = []
    reports = Reports(kept.append)
    reports.add(report(1))
    reports.add(report(2))
    reports.flush()
    reports.flush()
    assert [one.step for one in kept] == [1, 2]


@pytest.mark.parametrize(("message", "diverged"), [
    ({"step": 1}, False), ({"step": 1, "loss": 2.0}, False), ({"step": 1, "loss": None}, True),
    ({"step": 1, "loss": 1e999}, True),
])
def test_only_a_loss_that_was_named_can_have_diverged(message: dict[str, object], diverged: bool) -> None:
    assert clean(message, tokens=0, seconds=0.0).diverged is diverged
