"""Downsampling keeps what a reader looks for."""

from hypothesis import given
from hypothesis import strategies as st

from sandbox.queries import Dot, downsample


def dots(losses: list[float | None]) -> list[Dot]:
    return [Dot(step, 10 * step, 0.1 * step, loss) for step, loss in enumerate(losses)]


def test_a_spike_survives_downsampling() -> None:
    losses: list[float | None] = [3.0] * 10_000
    losses[6_789] = 42.0
    losses[1_234] = 0.5
    kept = downsample(dots(losses), limit=200)
    assert {6_789, 1_234} <= {dot.step for dot in kept}


def test_few_dots_stay_as_they_are() -> None:
    all_of_them = dots([3.0, None, 2.0])
    assert downsample(all_of_them, limit=3) == all_of_them


@given(st.lists(st.floats(0, 20) | st.none(), max_size=400), st.integers(4, 100))
def test_the_result_is_short_in_order_and_keeps_both_ends(losses: list[float | None], limit: int) -> None:
    all_of_them = dots(losses)
    kept = downsample(all_of_them, limit=limit)
    assert len(kept) <= max(limit, 0)
    assert [dot.step for dot in kept] == sorted({dot.step for dot in kept})
    if all_of_them:
        assert (kept[0], kept[-1]) == (all_of_them[0], all_of_them[-1])
