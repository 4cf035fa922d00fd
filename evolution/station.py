"""The evolution station: screens what was drafted, fills the generation, ends it, and writes the journal."""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from evolution import (
    assessing,
    breeding,
    contests,
    experiments,
    generations,
    journal,
    live,
    preflight,
    rounds,
    spending,
)
from evolution.agents.base import AgentUnavailable
from evolution.errors import DarwinError, StaleTransition
from evolution.models import Event, Experiment, ExperimentStatus, Status

log = logging.getLogger(__name__)

SECONDS = 20.0  # for one experiment in one look: then the others have their turn


def look() -> None:
    """One look around. Idempotent, safe to kill anywhere, and any number may run: each experiment has one at a time."""
    running = Experiment.objects.filter(status=ExperimentStatus.RUNNING)
    waiting = Experiment.objects.filter(pk__in=Event.objects.filter(journaled=False).values("experiment"))
    for number in sorted({*running.values_list("pk", flat=True), *waiting.values_list("pk", flat=True)}):
        _attend(number)


def _attend(number: int) -> None:
    """One experiment's trouble must not stop the others: it is logged, and told on its page."""
    experiment = Experiment.objects.select_related("baseline", "champion").get(pk=number)
    try:
        with _alone(experiment) as mine:
            if mine:
                _serve(experiment)
    except StaleTransition as error:
        log.info("%s: %s", experiment.slug, error)  # a person was faster: the next look sees what is there now
    except DarwinError as error:
        if experiments.note(experiment, str(error)):
            log.warning("%s: %s", experiment.slug, error)  # once, not with every look
    except Exception:  # a defect of ours in one experiment must leave the others alive
        log.exception("the evolution of %s failed", experiment.slug)
        experiments.note(experiment, "An unexpected error stopped this experiment's evolution: see the worker's log")


def _serve(experiment: Experiment) -> None:
    spending.settle_lost(experiment)
    is_running = experiment.status == ExperimentStatus.RUNNING
    try:
        if is_running:
            _evolve(experiment)
    finally:
        journal.drain(experiment)  # it does not wait for anybody's opinion
        if is_running:
            _assess(experiment)
            journal.drain(experiment)


def _assess(experiment: Experiment) -> None:
    """Opinions come last, and whatever goes wrong with them stops nothing."""
    try:
        assessing.step(experiment)
    except Exception:  # a defect of ours, too
        log.exception("the assessments of %s failed", experiment.slug)


def _evolve(experiment: Experiment) -> None:
    """Step by step until nothing more is to be done here, so that each draft is screened before the next is asked."""
    begun = time.monotonic()
    while _step(experiment):
        experiment = Experiment.objects.select_related("baseline", "champion").get(pk=experiment.pk)
        if experiment.status != ExperimentStatus.RUNNING:
            return
        if time.monotonic() - begun > SECONDS:
            live.wake(live.EVOLUTION)
            return
    experiments.note(experiment, "")


def _step(experiment: Experiment) -> bool:
    """Whether something was done, so that it is worth looking again."""
    drafted = experiment.variants.filter(status=Status.DRAFTED).select_related("experiment", "parent", "generation")
    screened = [preflight.screen(variant) for variant in drafted]
    before = _size(experiment)
    trouble: AgentUnavailable | None = None
    filled = False
    try:
        filled = breeding.breed(experiment, at_most=1)
    except AgentUnavailable as error:
        trouble = error  # what needs no agent goes on
    if _size(experiment) > before:
        return True
    if generations.close_generation(experiment, filled=filled):
        return True
    if contests.step(experiment) or screened:
        return True
    if trouble is not None:
        raise trouble
    return False


def _size(experiment: Experiment) -> tuple[int, int]:
    refused = Event.objects.filter(experiment=experiment, kind=rounds.REFUSED).count()
    return experiment.variants.count(), refused


@contextmanager
def _alone(experiment: Experiment) -> Iterator[bool]:
    """Whether this experiment is ours for now. The kernel gives the lock back whatever becomes of the process."""
    descriptor = os.open(experiment.folder / "station.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)
