"""No honest genome is refused, whatever it is made of; what is broken ends with a cause that a person understands."""

from collections.abc import Callable

import pytest

from sandbox.outcome import Outcome
from tests.trust.broken import BROKEN
from tests.trust.honest import HONEST
from trainer.contract import REJECTIONS

Ended = Callable[[str, str], Outcome]


@pytest.mark.parametrize("genome", HONEST)
def test_an_honest_genome_is_measured(genome: str, ended: Ended) -> None:
    outcome = ended("genome", genome)
    assert outcome.cause is None, f"{outcome.sentence()}\n{outcome.log_tail}"
    assert 1.0 < outcome.numbers["val_loss"] < 5.6  # ln 256 is 5.55


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_broken_has_a_cause_in_one_sentence(broken: str, ended: Ended) -> None:
    outcome, expected = ended("broken", broken), BROKEN[broken]
    assert outcome.cause == expected.cause, f"{outcome.sentence()}\n{outcome.log_tail}"
    assert outcome.cause not in REJECTIONS  # its author made a mistake, and is told so
    assert expected.word in outcome.detail
    assert "\n" not in outcome.sentence()
    assert outcome.numbers.get("val_loss") is None


def test_there_are_at_least_forty_honest_genomes() -> None:
    assert len(HONEST) >= 40
