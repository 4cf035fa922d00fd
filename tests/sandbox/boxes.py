"""Running a few lines of Python in a sandbox, and looking for what they left behind."""

import os
import textwrap
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.drivers import cgroups
from sandbox.drivers.base import Box, Driver, Exit, Job, Limits, Mount, Usage

MB = 1 << 20
SMALL = Limits(memory_bytes=512 * MB, pids=64, tmp_bytes=4 * MB, out_bytes=8 * MB, cache_bytes=8 * MB, wall_seconds=60)
PATIENCE = 60.0


@dataclass(frozen=True)
class Ran:
    name: str
    exit: Exit
    log: str
    usage: Usage


def job(
    code: str, *, limits: Limits = SMALL, mounts: tuple[Mount, ...] = (), labels: Mapping[str, str] | None = None
) -> Job:
    command = ("python", "-c", textwrap.dedent(code))
    return Job(f"test-{uuid.uuid4().hex[:12]}", command, mounts, limits=limits, labels=labels or {})


def wait(box: Box) -> Exit:
    """How it ended; the test fails when it has not after a minute."""
    end = time.monotonic() + PATIENCE
    while (ended := box.poll()) is None:
        assert time.monotonic() < end, f"{box.name} still runs: {box.log()}"
        time.sleep(0.02)
    return ended


def wait_for(box: Box, text: str) -> None:
    end = time.monotonic() + PATIENCE
    while text not in box.log():
        assert box.poll() is None, f"it ended before it said {text!r}: {box.log()}"
        assert time.monotonic() < end, f"it never said {text!r}: {box.log()}"
        time.sleep(0.02)


def run(driver: Driver, code: str, *, limits: Limits = SMALL, mounts: tuple[Mount, ...] = ()) -> Ran:
    """Run `code` to its end, and check that nothing of it is left."""
    box = driver.start(job(code, limits=limits, mounts=mounts))
    try:
        ended = wait(box)
        return Ran(box.name, ended, box.log(), box.usage())
    finally:
        box.remove()
        assert residue(driver, box.name) == []


def residue(driver: Driver, name: str) -> list[str]:
    """Containers, processes and control groups that still carry the name."""
    found = [f"container {box.name}" for box in driver.boxes() if box.name == name]
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or is not ours to read
            if process.name != str(os.getpid()) and name in (process / "cgroup").read_text():
                found.append(f"process {process.name}")
    for root in cgroups.hierarchies():
        found += [f"group {folder}" for folder in root.glob(f"**/*{name}*")]
    return found
