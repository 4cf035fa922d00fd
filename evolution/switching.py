"""The switch of the memory: on, frozen at a moment, or off; audited"""

from django.db import transaction
from django.utils import timezone

from evolution.errors import Refused
from evolution.memory import remember
from evolution.models import Experiment, MemoryMode


@transaction.atomic
def switch(experiment: Experiment, mode: MemoryMode, *, actor: str) -> None:
    """Put the memory of `experiment` into `mode`, or raise Refused when it is in it. Freezing is as of now."""
    frozen_at = timezone.now() if mode == MemoryMode.FROZEN else None
    old = experiment.memory
    moved = Experiment.objects.filter(pk=experiment.pk).exclude(memory=mode).update(memory=mode, frozen_at=frozen_at)
    if not moved:
        raise Refused(f"the memory of “{experiment.slug}” is {mode.value} already: nothing was changed")
    experiment.memory, experiment.frozen_at = mode.value, frozen_at
    remember(experiment, "memory.switched", actor=actor, data={
        "old": old, "memory": mode.value, "frozen_at": frozen_at.isoformat() if frozen_at else None,
    })
