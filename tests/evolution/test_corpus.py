"""The built-in data is the same text everywhere, and not among what a sandbox can read."""

import hashlib
import sys

from evolution import corpus
from evolution.names import SANDBOX


def test_it_is_the_same_text_on_every_machine_with_the_pinned_packages() -> None:
    assert hashlib.sha256(corpus.text()).hexdigest() == (
        "b0a3914528ec9bb02307862c76011bf8a8d82b230629ecbc6be3e93157c6a33f"
    )


def test_it_is_made_of_nothing_that_a_sandbox_holds() -> None:
    assert not set(corpus.PACKAGES) & (SANDBOX | sys.stdlib_module_names)


def test_it_is_readable_text_with_few_repetitions() -> None:
    blocks = [corpus.text()[at : at + 64] for at in range(0, len(corpus.text()), 64)]
    assert len(set(blocks)) > 0.98 * len(blocks)
    assert b"def " in corpus.text()
