"""The peak a device's MFU is measured against: a table for GPUs, a timed matrix product for a CPU."""

import json
import time
from pathlib import Path

from django.conf import settings

from sandbox import mounts
from sandbox.devices import Device, threads
from sandbox.drivers.base import Driver, Job, Limits, SandboxError
from trainer.harness.outside.peaks import peak_flops

WAIT_SECONDS = 60.0


def flops_per_second(driver: Driver, device: Device) -> float | None:
    """Dense FLOP/s. For a CPU: informational, measured once per machine and image, and labelled so on the pages."""
    if device.gpu is not None:
        return peak_flops(device.model)
    path = Path(settings.DARWIN_VAR) / "peaks.json"
    key = f"{driver.image()} {device.name} {threads()} threads, by CPU time"
    known: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    if key not in known:
        known[key] = _timed_product(driver)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(known, indent=1))
        partial.replace(path)
    return known[key]


def _timed_product(driver: Driver) -> float:
    """Run our own `inside/peak.py` in a container; no variant code is in it."""
    box = driver.start(Job(
        name=f"darwin-peak-{time.time_ns()}",
        command=("python", "-P", "-m", "trainer.harness.inside.peak"),
        mounts=mounts.harness(),
        limits=Limits(wall_seconds=WAIT_SECONDS),
        labels={"part": "peak"},
        environment={"DARWIN_THREADS": str(threads()), "OMP_NUM_THREADS": str(threads())},
    ))
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while box.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        return float(json.loads(box.log().strip().splitlines()[-1])["flops_per_second"])
    except (ValueError, KeyError, IndexError) as error:
        raise SandboxError(f"the timed matrix product printed no result: {box.log(500)}") from error
    finally:
        box.remove()
