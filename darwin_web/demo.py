"""What a newcomer finds: one experiment that needs no key, no data and no decision to begin."""

from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.models import User

from evolution import experiments
from evolution.errors import DarwinError
from evolution.models import Experiment, ReviewMode
from evolution.options import Options

# About half a minute of training on two cores.
DEMO = Options(
    name="demo", genome="builtin", data="builtin", agent="builtin", population=4, survivors=2, generations=3,
    budget_tokens=500_000, review=ReviewMode.HUMAN.value,
)


def plant(owner: User, *, say: Callable[[str], None]) -> None:
    """Create the demonstration experiment where there is no experiment at all, unless DARWIN_DEMO is 0."""
    if not settings.DARWIN_DEMO or Experiment.objects.exists():
        return
    try:
        experiments.create(DEMO, actor="system", owner=owner)
    except DarwinError as error:
        say(f"The demonstration experiment could not be created: {error}")
    else:
        say("The demonstration experiment is created; its baseline is about to be trained.")
