"""What this host can train on: one attempt at a time on each device."""

import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from functools import cache

MAX_CPU_THREADS = 8


@dataclass(frozen=True)
class Device:
    """`name` is unique over all hosts; `gpu` is a UUID, or None for the CPU."""

    name: str
    gpu: str | None
    model: str  # as the vendor names it, for the table of peaks


@cache
def devices() -> tuple[Device, ...]:
    """The GPUs of this host, or its CPU when it has none."""
    host = socket.gethostname()
    gpus = _gpus()
    if gpus:
        return tuple(Device(name=f"{host}/{uuid}", gpu=uuid, model=model) for uuid, model in gpus)
    return (Device(name=f"{host}/cpu", gpu=None, model="CPU"),)


def threads() -> int:
    """Threads of one CPU trial: fixed on a machine, so that a seed and a token budget give one number."""
    return min(len(os.sched_getaffinity(0)), MAX_CPU_THREADS)


def _gpus() -> list[tuple[str, str]]:
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        listing = subprocess.run(
            ["nvidia-smi", "--query-gpu=uuid,name", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.split(", ", 1) for line in listing.splitlines() if ", " in line]
    return [(uuid.strip(), model.strip()) for uuid, model in rows]
