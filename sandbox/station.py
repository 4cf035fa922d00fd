"""The sandbox station: looks at its inbox, gives free devices work, and cleans up behind dead runners.

Every step is short and idempotent. A training never lives in here: it has a runner process of its own.
"""

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone

from evolution.models import Experiment, ExperimentStatus, Kind, Replicate, Status, Variant
from sandbox import attempts, limits, readiness
from sandbox.devices import devices
from sandbox.drivers.base import Box, Driver, SandboxError
from sandbox.models import ACTIVE, Attempt, Purpose, Trial
from sandbox.readiness import DriverState

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parent.parent
OVER = (Status.CANCELLED, Status.FAILED, Status.REJECTED, Status.STILLBORN)  # no trial of these goes on
UNCLAIMED = timedelta(seconds=20)  # how long a started runner may take to claim its attempt


def look() -> None:
    """One round: recover, start, sweep, prune, tell what this host has."""
    recover()
    start()
    try:
        sweep()
    except SandboxError as error:
        log.warning("could not look for containers that are over: %s", error)
    prune()
    report()


def recover() -> None:
    """Start a new runner for every attempt of this host whose runner is dead."""
    now = timezone.now()
    dead = Q(lease_expires__lt=now) | Q(lease_expires__isnull=True, created_at__lt=now - UNCLAIMED)
    mine = [device.name for device in devices()]
    for attempt in Attempt.objects.filter(dead, state__in=ACTIVE, device__in=mine):
        log.warning("attempt %s lost its runner; starting another", attempt.pk)
        spawn(attempt)


def start() -> None:
    """Give each free device the next run: checks, then trainings, then confirmation runs, the longest waiting first."""
    for device in devices():
        if Attempt.objects.filter(device=device.name, state__in=ACTIVE).exists():
            continue
        for variant, purpose, seed in _inbox():
            attempt = attempts.open_attempt(variant, purpose, device, seed=seed)
            if attempt is not None:
                spawn(attempt)
                break


def _inbox() -> list[tuple[Variant, Purpose, int | None]]:
    """What waits, each with its purpose and, for a confirmation run, its seed."""
    running = Variant.objects.filter(experiment__status=ExperimentStatus.RUNNING).select_related("experiment__baseline")
    idle = running.exclude(trials__attempts__state__in=ACTIVE)
    checks = idle.filter(status=Status.SCREENED).order_by("changed_at")[:4]
    scores = _comparable(idle.filter(status__in=(Status.APPROVED, Status.TRAINING))).order_by("changed_at")[:4]
    return [
        *((variant, Purpose.CHECK, None) for variant in checks),
        *((variant, Purpose.SCORE, None) for variant in scores),
        *((one.variant, Purpose.CONFIRM, one.seed) for one in _wanted_replicates()),
    ]


def _wanted_replicates() -> list[Replicate]:
    """Confirmation runs that nobody is at. Both sides of a pair were asked for one after the other, and run so."""
    asked = Replicate.objects.filter(
        wanted=True, verdict="", variant__experiment__status=ExperimentStatus.RUNNING
    ).select_related("variant__experiment__baseline").order_by("id")
    running = set(
        Attempt.objects.filter(state__in=ACTIVE, trial__purpose=Purpose.CONFIRM)
        .values_list("trial__variant", "trial__seed")
    )
    return [one for one in asked if (one.variant_id, one.seed) not in running][:4]


def _comparable(variants: QuerySet[Variant]) -> QuerySet[Variant]:
    """A variant's device time is bounded by the baseline's: the baseline is trained first."""
    return variants.filter(Q(kind=Kind.BASELINE) | Q(experiment__baseline__perplexity__isnull=False))


def spawn(attempt: Attempt) -> None:
    """Start the runner of `attempt` detached: it outlives this worker."""
    logs = Path(settings.DARWIN_VAR) / "log"
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / "runners.log").open("ab") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "sandbox.runner", str(attempt.pk)],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            env={**os.environ, "DARWIN_VAR": str(settings.DARWIN_VAR),
                 "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "darwin_web.settings")},
        )
    _children.append(child)
    _children[:] = [one for one in _children if one.poll() is None]  # reap those that ended


_children: list[subprocess.Popen[bytes]] = []


def sweep() -> None:
    """Kill what is past its deadline, and remove the containers that nobody will collect."""
    for driver in _drivers():
        limits.sweep(driver, now=time.time())
        boxes = driver.boxes()  # listed before the rows are read: an attempt's row is older than its container
        active = _active()
        for box in boxes:
            if not _is_owned(box, active):
                box.remove()


def _is_owned(box: Box, active: set[str]) -> bool:
    """Whether a runner collects it, or, outside any attempt, a command that is still in its time."""
    if "attempt" in box.labels:
        return box.labels["attempt"] in active
    return not limits.overdue(box.labels, now=time.time())


def _drivers() -> list[Driver]:
    """The drivers that any experiment is pinned to, as far as they answer."""
    names = Experiment.objects.exclude(image="").values_list("sandbox", flat=True).distinct().order_by("sandbox")
    return [readiness.driver(name) for name in names]


def prune() -> None:
    """Keep weights for baseline, champion, survivors and what waits for selection; drop the rest and old attempts."""
    folders = list((Path(settings.DARWIN_VAR) / "attempts").glob("*"))  # before the rows: a row is older than these
    kept = _active() | _unfinished()
    for folder in folders:
        if folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)
    for experiment in Experiment.objects.all():
        _prune_weights(experiment)


def _active() -> set[str]:
    return {str(pk) for pk in Attempt.objects.filter(state__in=ACTIVE).values_list("pk", flat=True)}


def _unfinished() -> set[str]:
    """The folders of saved states from which a trial may still go on (runner.hand_over)."""
    trials = Trial.objects.filter(verdict="").exclude(variant__status__in=OVER)
    return {f"trial-{pk}" for pk in trials.values_list("pk", flat=True)}


def _prune_weights(experiment: Experiment) -> None:
    kept = Q(status__in=(Status.MEASURED, Status.SURVIVED)) | Q(pk__in=[experiment.baseline_id, experiment.champion_id])
    numbers = {str(n) for n in experiment.variants.filter(kept).values_list("number", flat=True)}
    for folder in (experiment.folder / "weights").glob("[0-9]*"):
        if folder.name not in numbers:
            shutil.rmtree(folder, ignore_errors=True)


def report() -> None:
    """Write what this host has where the web process, which must not touch Docker, can read it."""
    path = Path(settings.DARWIN_VAR) / "machine.json"
    if path.exists() and time.time() - path.stat().st_mtime < 60:
        return
    states = readiness.drivers()
    try:
        chosen = readiness.choose("auto")
        choice = {"driver": chosen.name, "image": chosen.image(), "warning": chosen.warning}
    except SandboxError as error:
        choice = {"driver": "", "image": "", "warning": str(error)}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({
        "at": timezone.now().isoformat(), "host": socket.gethostname(), **choice,
        "why": _why(states, choice["driver"]),
        "drivers": [asdict(state) for state in states],
        "devices": [asdict(device) for device in devices()],
    }, indent=1, default=str))
    partial.replace(path)


def _why(states: list[DriverState], chosen: str) -> str:
    """Why new experiments get the driver they get."""
    refused = [f"{state.name} cannot be used: {state.reason}" for state in states if not state.usable]
    if chosen == states[0].name:
        return f"{chosen} is preferred, and it works here"
    return "; ".join(refused)


def stop_runners(seconds: float = 20.0) -> None:
    """End every runner of this host and wait for it: at a clean stop nothing of ours goes on."""
    deadline = time.monotonic() + seconds
    pids = [pid for pid in _runner_pids() if _signal(pid, signal.SIGTERM)]
    while pids and time.monotonic() < deadline:
        time.sleep(0.1)
        pids = [pid for pid in pids if _is_runner(pid)]
    for pid in pids:
        _signal(pid, signal.SIGKILL)
    try:
        sweep_all()
    except SandboxError as error:
        log.warning("could not look for containers that are left: %s", error)


def sweep_all() -> None:
    """Remove the containers of every attempt of this installation."""
    for driver in _drivers():
        for box in driver.boxes():
            if "attempt" in box.labels:
                box.remove()


def _runner_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if _is_runner(int(entry.name))]


def _is_runner(pid: int) -> bool:
    """Whether `pid` is a live runner of this var/."""
    process = Path(f"/proc/{pid}")
    try:
        ours = f"DARWIN_VAR={settings.DARWIN_VAR}".encode() in (process / "environ").read_bytes().split(b"\0")
        zombie = (process / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return ours and not zombie and b"sandbox.runner" in (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


