"""What the processes of these tests are asked to do, by name."""

from collections.abc import Mapping

from bench.patches import corpus
from sandbox.models import Purpose
from sandbox.outcome import Outcome
from tests.trust.broken import BROKEN
from tests.trust.cheat import Tried
from tests.trust.cheats import CHEATS
from tests.trust.honest import HONEST
from tests.trust.honest import built_in as built_in_files
from tests.trust.nursery import nursery
from tests.trust.trials import held_to, trial

# The tables, by the name of a test's parameter, with the fixtures that their function takes after the name.
OF = {"cheat": ("twin",), "genome": ("built_in",), "broken": (), "patch": (), "fine": ()}


def cheat(name: str, twin: Outcome) -> Tried:
    """The cheat `name`, with its guard and without."""
    return CHEATS[name].try_it(twin)


def honest(files: Mapping[str, bytes]) -> Outcome:
    """One trial in containers of its own, held to nothing."""
    return trial(files).outcome


def built_in() -> Outcome:
    """The built-in genome, made small."""
    return trial(built_in_files(), where=nursery(), below=nursery().folder).outcome


def genome(name: str, baseline: Outcome) -> Outcome:
    """The honest genome `name`, held to what the built-in one needed."""
    one = nursery()
    return trial(HONEST[name](), baseline=held_to(baseline), where=one, below=one.folder).outcome


def broken(name: str) -> Outcome:
    """A genome that fails."""
    one = BROKEN[name]
    with one.while_it_runs():
        if one.alone:
            return trial(one.made()).outcome
        return trial(one.made(), where=nursery(), below=nursery().folder).outcome


def patch(name: str) -> Outcome:
    """A check of the small built-in genome after the broken patch `name` of the corpus."""
    return checked(next(one for one in corpus() if one.name == name).applied(built_in_files()))


def fine(name: str) -> Outcome:
    """A check of the honest genome `name`."""
    return checked(HONEST[name]())


def checked(files: Mapping[str, bytes]) -> Outcome:
    """What the sandbox finds before anybody looks."""
    one = nursery()
    return trial(files, where=one, below=one.folder, purpose=Purpose.CHECK).outcome
