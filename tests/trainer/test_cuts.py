"""Where windows are cut, and what escapes so many cuts."""

import math

import numpy as np
import pytest

from trainer.harness.outside.cuts import MAX_CUTS, Cuts, bound, draw


def cuts(windows: int, context: int, seed: int = 0) -> Cuts:
    return draw(windows=windows, context=context, rng=np.random.default_rng(seed))


def pairs(drawn: Cuts) -> list[tuple[int, int]]:
    return [(length, int(row)) for length, rows in drawn.questions for row in rows]


@pytest.mark.parametrize(("windows", "context"), [(1024, 64), (256, 256), (64, 32), (20, 1024), (4096, 64)])
def test_nothing_is_asked_twice_and_short_prefixes_come_first(windows: int, context: int) -> None:
    drawn = pairs(cuts(windows, context))
    assert len(set(drawn)) == len(drawn)
    assert [length for length, _ in drawn] == sorted(length for length, _ in drawn)
    assert all(1 <= length <= context and 0 <= row < windows for length, row in drawn)


@pytest.mark.parametrize(("windows", "context"), [(1024, 64), (4096, 64), (256, 256)])
def test_two_thousand_cuts_are_made_where_there_is_room(windows: int, context: int) -> None:
    assert 0.98 * MAX_CUTS <= cuts(windows, context).count <= MAX_CUTS


def test_a_few_windows_are_cut_at_every_place() -> None:
    assert cuts(8, 16).count > 100


def test_long_contexts_cost_no_more_than_four_times_the_windows() -> None:
    drawn = cuts(64, 1024)
    assert sum(length * len(rows) for length, rows in drawn.questions) < 1.1 * 4 * 64 * 1024


def test_every_place_is_as_likely_as_any_other() -> None:
    counts = np.zeros((4, 30))
    for seed in range(400):
        for length, row in pairs(draw(windows=30, context=4, rng=np.random.default_rng(seed))):
            counts[length - 1, row] += 1
    assert counts.max() == counts.min() == 400 or counts.std() / counts.mean() < 0.05


def test_the_bound_is_the_rule_of_three() -> None:
    drawn = cuts(1024, 64)
    assert bound(drawn, columns=256) == pytest.approx(3 / drawn.count * math.log(256))


def test_a_peek_at_more_places_than_the_bound_says_is_seen_in_19_of_20_audits() -> None:
    drawn = [cuts(400, 16, seed) for seed in range(300)]
    count = math.ceil(3 / drawn[0].count * 16 * 400)
    places = np.random.default_rng(9).choice(16 * 400, size=count, replace=False)
    peeked = {(int(place) // 400 + 1, int(place) % 400) for place in places}
    assert np.mean([not peeked.isdisjoint(pairs(one)) for one in drawn]) > 0.93


def test_lengths_that_are_sampled_bound_less() -> None:
    drawn = draw(windows=4096, context=2048, rng=np.random.default_rng(0))
    assert drawn.independent == len(drawn.questions) < drawn.count
