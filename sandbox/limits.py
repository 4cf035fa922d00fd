"""What every container is held to whatever its driver, whose it is, and who ends it when nobody else does."""

import hashlib
import time
from collections.abc import Mapping

from django.conf import settings

from sandbox.drivers.base import Driver, Job, Limits
from trainer.contract import GENOME_DIR

UID = GID = 10001  # no such user on the host, and none inside
OPEN_FILES = 4096
SHM_BYTES = 64 << 20
INODES = 100_000  # of each tmpfs: a million empty files must not fill the memory
LOG_BYTES = 1 << 20  # of output kept by the engine, twice
OOM_SCORE = 800  # when the host runs out of memory, variants die before anything of ours

ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108 inside the container
    "TMPDIR": "/tmp",  # noqa: S108 inside the container
    "USER": "darwin",
    "LOGNAME": "darwin",
    "LANG": "C.UTF-8",
    "XDG_CACHE_HOME": "/cache",
    "TORCHINDUCTOR_CACHE_DIR": "/cache/inductor",
    "TRITON_CACHE_DIR": "/cache/triton",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "NVIDIA_VISIBLE_DEVICES": "void",  # an engine whose default runtime is NVIDIA's would show all of them
}


def installation() -> str:
    """Which DARWIN on this machine: containers of another var/ are never touched."""
    return hashlib.sha256(str(settings.DARWIN_VAR).encode()).hexdigest()[:12]


def labels(job: Job) -> dict[str, str]:
    """The job's labels, with the installation and the deadline (seconds since the epoch) in any case."""
    deadline = f"{time.time() + job.limits.wall_seconds:.0f}"
    return {"deadline": deadline, **job.labels, "installation": installation()}


def ulimits(limits: Limits) -> dict[str, int]:
    """The classic limits, by their name in lower case: no core files, and no file larger than its tmpfs."""
    largest = max(limits.out_bytes, limits.cache_bytes, limits.tmp_bytes)
    return {"core": 0, "nofile": OPEN_FILES, "fsize": largest}


def workdir(job: Job) -> str:
    return GENOME_DIR if any(mount.target == GENOME_DIR for mount in job.mounts) else "/"


def overdue(labels: Mapping[str, str], *, now: float) -> bool:
    """Whether a container with these labels should be over; one without a readable deadline is not ours to judge."""
    try:
        return float(labels["deadline"]) <= now
    except (KeyError, ValueError):
        return False


def sweep(driver: Driver, *, now: float) -> list[str]:
    """Kill every running container of this installation that is past its deadline; their names.

    It leaves them to be collected by whoever owns the attempt: exit code and log are still wanted.
    """
    late = [box for box in driver.boxes() if overdue(box.labels, now=now) and box.poll() is None]
    for box in late:
        box.kill()
    return [box.name for box in late]
