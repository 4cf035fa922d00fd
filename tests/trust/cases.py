"""What the processes of these tests are asked to do, by name."""

from collections.abc import Mapping

from sandbox.outcome import Outcome
from tests.trust.cheat import Tried
from tests.trust.cheats import CHEATS
from tests.trust.trials import trial

# The tables, by the name of a test's parameter, with the fixtures that their function takes after the name.
OF = {"cheat": ("twin",)}


def cheat(name: str, twin: Outcome) -> Tried:
    """The cheat `name`, with its guard and without."""
    return CHEATS[name].try_it(twin)


def honest(files: Mapping[str, bytes]) -> Outcome:
    """One trial, held to nothing."""
    return trial(files).outcome
