"""Driver and image are pinned per experiment: numbers from different sandboxes are not compared."""

from evolution.models import Experiment
from sandbox import readiness
from sandbox.drivers.base import Driver, SandboxUnavailable


def pinned(experiment: Experiment) -> Driver:
    """The experiment's driver; the first look pins it. SandboxUnavailable when it, or its image, is not here."""
    if not experiment.image:
        _pin(experiment)
    driver = readiness.driver(experiment.sandbox)
    if driver.image() != experiment.image:
        raise SandboxUnavailable(
            f"“{experiment.slug}” runs on {experiment.image}, and here is {driver.image()}: bring that image back, or "
            "start a new experiment"
        )
    return driver


def _pin(experiment: Experiment) -> None:
    driver = readiness.choose(experiment.sandbox)
    Experiment.objects.filter(pk=experiment.pk, image="").update(sandbox=driver.name, image=driver.image())
    experiment.refresh_from_db(fields=["sandbox", "image"])

