"""Every known cheat: it would pay without its guard, and does not with it."""

from collections.abc import Callable

import pytest

from sandbox.outcome import Outcome
from tests.trust.cheat import NEVER_BETTER, Tried
from tests.trust.cheats import CHEATS

Ended = Callable[[str, str], Tried]


@pytest.mark.parametrize("cheat", CHEATS)
def test_it_would_pay_without_its_guard(cheat: str, ended: Ended) -> None:
    tried = ended("cheat", cheat)
    assert tried.gain >= CHEATS[cheat].margin, tried


@pytest.mark.parametrize("cheat", CHEATS)
def test_it_is_rejected_by_name_or_worthless(cheat: str, ended: Ended, twin: Outcome) -> None:
    tried, expected = ended("cheat", cheat), CHEATS[cheat]
    if tried.outcome.cause is None:
        assert expected.worthless, tried
        assert tried.advantage is not None
        assert tried.advantage <= NEVER_BETTER, tried
        if expected.held:
            assert tried.outcome.numbers["flops_per_token"] <= 1.25 * twin.numbers["flops_per_token"], tried
        assert all(tried.outcome.numbers[name] is not None for name in ("val_loss", "device_seconds"))
    else:
        assert tried.outcome.cause in expected.causes, tried.outcome.sentence()


def test_there_are_at_least_twenty_five() -> None:
    assert len(CHEATS) >= 25
