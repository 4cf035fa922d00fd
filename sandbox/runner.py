"""The process that runs one attempt: it owns the container, the text server and the clock, and writes the result.

Started detached by the station as `python -m sandbox.runner ATTEMPT`. Killed at any line, another runner takes over.
"""

import logging
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import django

django.setup()

from django.db import connections, transaction  # noqa: E402

from evolution import live  # noqa: E402
from sandbox import attempts, orders, probe  # noqa: E402
from sandbox.attempts import LostLease  # noqa: E402
from sandbox.conduct import conduct  # noqa: E402
from sandbox.models import Attempt, AttemptState, Point, Purpose  # noqa: E402
from sandbox.outcome import Outcome  # noqa: E402
from sandbox.trial import Abandoned  # noqa: E402
from trainer.contract import OURS, Cause  # noqa: E402
from trainer.harness.outside import state  # noqa: E402
from trainer.harness.outside.server import Report  # noqa: E402

log = logging.getLogger("sandbox.runner")
HEARTBEAT_SECONDS = 3.0
FLUSH_SECONDS = 0.4


class Watch:
    """Between a trial and its rows: phases, claimed points, the lease. `tick` raises when the trial must stop."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.progress = attempt.progress
        self.points: list[Point] = []
        self.flushed = 0.0
        self.stop: Exception | None = None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self.thread.start()

    def phase(self, state: AttemptState, container: str) -> None:
        attempts.write(self.attempt, state=state, container=container)
        live.publish(self.attempt.trial.variant.experiment_id, kind="attempt", trial=self.attempt.trial_id)

    def report(self, report: Report) -> None:
        self.points.append(Point(
            trial_id=self.attempt.trial_id, step=report.step, tokens=report.tokens, seconds=report.seconds,
            loss=report.loss, numbers=report.numbers,
        ))

    def tick(self, progress: float) -> None:
        self.progress = max(self.progress, progress)
        if self.stop is not None:
            raise self.stop
        if self.points and time.monotonic() - self.flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        points, self.points = self.points, []
        self.flushed = time.monotonic()
        if not points:
            return
        with transaction.atomic():
            Point.objects.bulk_create(points)
            live.publish(self.attempt.trial.variant.experiment_id, kind="points", trial=self.attempt.trial_id)

    def close(self) -> None:
        self.over.set()
        self.thread.join()

    def _beat(self) -> None:
        try:
            while not self.over.wait(HEARTBEAT_SECONDS) and self.stop is None:
                if not attempts.heartbeat(self.attempt, progress=self.progress):
                    self.stop = Abandoned(Cause.CANCELLED)
        except LostLease as error:
            self.stop = error
        finally:
            connections.close_all()


def run(attempt_id: int) -> None:
    """Run one attempt to its end; returns quietly when somebody else has it."""
    try:
        attempt = attempts.claim(attempt_id)
    except LostLease:
        return
    watch = Watch(attempt)

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        watch.stop = Abandoned(Cause.INTERRUPTED)

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    try:
        outcome = _conduct(attempt, watch)
        watch.close()
        watch.flush()
        keep_weights(attempt, outcome)
        hand_over(attempt, outcome)
        attempts.finish(attempt, outcome)
    except LostLease as error:
        log.warning("%s", error)
    finally:
        watch.close()


def keep_weights(attempt: Attempt, outcome: Outcome) -> None:
    """Put the judged checkpoint where it stays while its variant is the baseline, the champion or a survivor."""
    if attempt.trial.purpose != Purpose.SCORE or outcome.cause is not None:
        return
    variant = attempt.trial.variant
    target = variant.experiment.folder / "weights" / str(variant.number)
    partial = target.with_name(f"partial-{attempt.pk}")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(orders.attempt_folder(attempt.pk) / "weights", partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def hand_over(attempt: Attempt, outcome: Outcome) -> None:
    """Keep the state that a lost training saved where the trial's next attempt finds it; else nothing is kept."""
    kept, folder = _kept_state(attempt), orders.attempt_folder(attempt.pk)
    if outcome.cause not in OURS:
        shutil.rmtree(kept, ignore_errors=True)
    elif (left := state.read(folder)).saved is not None:
        shutil.rmtree(kept, ignore_errors=True)
        _copy_state(left, folder, kept)


def take_over(attempt: Attempt) -> None:
    """Begin where an earlier attempt at the same trial saved a state, if one did and this one has not begun."""
    kept, folder = _kept_state(attempt), orders.attempt_folder(attempt.pk)
    if (kept / state.FILE).exists() and not (folder / state.FILE).exists():
        _copy_state(state.read(kept), kept, folder)


def _kept_state(attempt: Attempt) -> Path:
    """Outside the attempts' own folders, which go when they are over."""
    return orders.attempt_folder(attempt.pk).parent / f"trial-{attempt.trial_id}"


def _copy_state(left: state.State, source: Path, target: Path) -> None:
    assert left.saved is not None  # noqa: S101 for mypy
    files = state.folder_of(source, left.saved.save)
    shutil.copytree(files, target / files.name, dirs_exist_ok=True)
    state.write(target, left)  # last: without it there is nothing to go on from


def _conduct(attempt: Attempt, watch: Watch) -> Outcome:
    try:
        order, driver = orders.order(attempt)
        take_over(attempt)
        probed = Outcome()
        order = probe.freeze(attempt, order, driver, watch, probed)
        if probed.cause is not None:
            return probed
        outcome = conduct(order, driver, watch)
        outcome.numbers.update(probed.numbers)
        outcome.phases.update(probed.phases)
        return outcome
    except LostLease:
        raise
    except Abandoned as abandoned:
        return Outcome(cause=abandoned.cause, detail="stopped", progress=watch.progress)
    except Exception as error:  # whatever it was, it was ours: tried again, at most three times, then said on the page
        log.exception("attempt %s", attempt.pk)
        return Outcome(cause=Cause.INFRASTRUCTURE, detail=str(error), progress=watch.progress)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "darwin_web.settings")
    run(int(sys.argv[1]))
