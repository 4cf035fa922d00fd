"""What a result is held to, at both sides of every limit."""

import pytest

from sandbox import bounds
from sandbox.trial import Baseline
from trainer.contract import Cause

BASELINE = Baseline(
    saved_bytes=1_000_000, genome_bytes=10_000, judge_seconds_per_token=1e-5, prefix_seconds_per_token=2e-5,
    load_seconds=0.5, flops_per_token=1e6,
)


def cause(refusal: bounds.Refusal | None) -> Cause | None:
    return refusal[0] if refusal else None


@pytest.mark.parametrize(("numbers", "expected"), [
    ({"saved_bytes": 4_000_000, "genome_bytes": 20_000}, None),
    ({"saved_bytes": 4_100_000, "genome_bytes": 10_000}, Cause.TOO_LARGE),
    ({"saved_bytes": 1_000_000, "genome_bytes": 10_000 + (32 << 10)}, None),
    ({"saved_bytes": 1_000_000, "genome_bytes": 110_000}, Cause.TOO_LARGE),
    ({}, None),
])
def test_bytes_are_held_to_the_baselines(numbers: dict[str, int], expected: Cause | None) -> None:
    assert cause(bounds.of_size(numbers, BASELINE)) == expected


@pytest.mark.parametrize(("per_token", "load", "tokens", "expected"), [
    (4e-5, 1.0, 1_000_000, None),
    (6e-5, 1.0, 1_000_000, Cause.TOO_SLOW),
    (6e-5, 1.0, 10_000, None),  # less than two seconds in all
    (1e-5, 5.0, 10_000, None),
    (1e-5, 9.0, 10_000, Cause.TOO_SLOW),
])
def test_answers_and_loading_may_take_a_few_times_as_long(
    per_token: float, load: float, tokens: int, expected: Cause | None
) -> None:
    numbers = {"judge_seconds_per_token": per_token, "load_seconds": load}
    assert cause(bounds.of_time(numbers, BASELINE, asked=[tokens, tokens])) == expected


@pytest.mark.parametrize(("per_token", "expected"), [(8e-5, None), (12e-5, Cause.TOO_SLOW)])
def test_the_container_that_is_asked_about_prefixes_has_a_limit_too(per_token: float, expected: Cause | None) -> None:
    numbers = {"judge_seconds_per_token": 1e-5, "prefix_seconds_per_token": per_token}
    assert cause(bounds.of_time(numbers, BASELINE, asked=[1_000_000, 1_000_000])) == expected


@pytest.mark.parametrize("refusal", [
    bounds.of_size({"saved_bytes": 1 << 40, "genome_bytes": 1 << 40}, Baseline()),
    bounds.of_time({"judge_seconds_per_token": 1e3, "load_seconds": 1e6}, Baseline(), asked=[10**6, 10**6]),
    bounds.of_speed({}, trained=1e9, peak_flops=1e12),
    bounds.of_speed({"forward_tokens_per_second": 1e3, "flops_counted": 1e15}, trained=None, peak_flops=None),
])
def test_what_is_not_known_holds_nobody_back(refusal: bounds.Refusal | None) -> None:
    assert refusal is None


@pytest.mark.parametrize(("trained", "forward", "flops", "expected"), [
    (900.0, 1000.0, 1e6, None),
    (1100.0, 1000.0, 1e6, Cause.TOO_FAST),
    (300.0, 1000.0, 6e9, None),  # 2e12 in the forward pass: twice the peak, which is measured
    (300.0, 1000.0, 7e9, Cause.IMPOSSIBLE_FLOPS),
    (900.0, None, 1e9, None),
    (900.0, None, 3e9, Cause.IMPOSSIBLE_FLOPS),
])
def test_nobody_is_faster_than_arithmetic(
    trained: float, forward: float | None, flops: float, expected: Cause | None
) -> None:
    numbers = {"forward_tokens_per_second": forward, "flops_counted": flops}
    assert cause(bounds.of_speed(numbers, trained=trained, peak_flops=1e12)) == expected


def test_more_flops_than_the_baselines_count_only_a_quarter_more() -> None:
    assert bounds.counted(1.1e6, BASELINE) == 1.1e6
    assert bounds.counted(9e6, BASELINE) == 1.25e6
    assert bounds.counted(9e6, Baseline()) == 9e6
    assert bounds.counted(None, BASELINE) is None
