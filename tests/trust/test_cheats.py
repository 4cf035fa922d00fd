"""Every known cheat: it would pay without its guard, and does not with it."""

from collections.abc import Callable

import pytest

from sandbox.outcome import Outcome
from tests.trust.cheat import NEVER_BETTER, Tried
from tests.trust.cheats import CHEATS
from tests.trust.genomes import BUDGET_TOKENS

Ended = Callable[[str, str], Tried]
FAR = 6  # far below what is claimed or stopped, far above what a busy machine does


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
        _assert_counted_by_us(tried.outcome, twin)
    else:
        assert tried.outcome.cause in expected.causes, tried.outcome.sentence()


def test_there_are_at_least_twenty_five() -> None:
    assert len(CHEATS) >= 25


def _assert_counted_by_us(outcome: Outcome, twin: Outcome) -> None:
    """Whatever it claimed or stopped, its tokens, its clock and its speed are near those of its honest twin."""
    numbers = outcome.numbers
    assert numbers["val_loss"] is not None
    assert numbers["train_tokens"] <= BUDGET_TOKENS
    assert numbers["device_seconds"] > twin.numbers["device_seconds"] / FAR
    assert numbers["tokens_per_second"] < FAR * twin.numbers["tokens_per_second"]
    assert numbers["mfu"] is None or numbers["mfu"] < FAR * twin.numbers["mfu"]
