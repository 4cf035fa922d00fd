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


def gpu_memory_bytes(gpu: str) -> int | None:
    """Memory in use now on the GPU with that UUID, by whoever; None where its driver does not say."""
    told = _nvidia_smi("--query-gpu=memory.used", "--format=csv,noheader,nounits", f"--id={gpu}").strip()
    return int(told) << 20 if told.isdigit() else None  # it counts in MiB


def threads() -> int:
    """Threads of one CPU trial: fixed on a machine, so that a seed and a token budget give one number."""
    return min(len(os.sched_getaffinity(0)), MAX_CPU_THREADS)


def _gpus() -> list[tuple[str, str]]:
    listing = _nvidia_smi("--query-gpu=uuid,name", "--format=csv,noheader")
    rows = [line.split(", ", 1) for line in listing.splitlines() if ", " in line]
    return [(uuid.strip(), model.strip()) for uuid, model in rows]


def _nvidia_smi(*arguments: str) -> str:
    """What it prints; empty where there is none, or it fails."""
    if shutil.which("nvidia-smi") is None:
        return ""
    try:
        return subprocess.run(
            ["nvidia-smi", *arguments], capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
