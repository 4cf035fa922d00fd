"""Strategies as data: which ways of proposing an experiment has, and which one is asked next."""

from random import Random

from evolution.agents import BUILTIN, OPENAI
from evolution.models import Experiment, Mode, Strategy
from evolution.options import MODES
from evolution.rounds import Round

DEFAULT = "default"


def of(experiment: Experiment) -> list[Strategy]:
    """The strategies of `experiment`; one that stands for its agent is made where there is none."""
    found = list(experiment.strategies.all())
    return found or [Strategy.objects.get_or_create(
        experiment=experiment, name=DEFAULT,
        defaults={
            "provider": experiment.agent,
            "mode": Mode.OPERATORS if experiment.agent == BUILTIN else MODES.get(experiment.preset, Mode.EDITS),
        },
    )[0]]


def choose(one: Round, rng: Random) -> Strategy:
    """The strategy that makes the next proposal."""
    return of(one.experiment)[0]


def mender(experiment: Experiment) -> Strategy | None:
    """The strategy that may mend what failed: only a language model reads a traceback; None where there is none."""
    return next((one for one in of(experiment) if one.provider == OPENAI), None)
