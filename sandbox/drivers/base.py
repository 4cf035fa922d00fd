"""What a sandbox is: the small interface every driver keeps, and the values that go through it.

A command that failed is data (`Exit`); a sandbox that failed is an exception (`SandboxError`) and is tried again.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from evolution.errors import Infrastructure


class SandboxError(Infrastructure):
    """The engine, the node or the disk failed; the variant is not to blame."""


class SandboxUnavailable(SandboxError):
    """This driver cannot work on this machine; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Mount:
    """A file or directory of the host, seen read-only at `target`."""

    source: Path
    target: str


@dataclass(frozen=True)
class Limits:
    memory_bytes: int = 4 << 30  # with the tmpfs areas; no swap
    cpus: float = 2.0
    pids: int = 256
    tmp_bytes: int = 256 << 20  # /tmp, noexec
    out_bytes: int = 1 << 30  # /out
    cache_bytes: int = 1 << 30  # /cache, exec: torch.compile, one per attempt
    wall_seconds: float = 600.0  # enforced from outside, and by whoever finds the container after a crash


@dataclass(frozen=True)
class Job:
    """One container to start. `name` is unique; `labels` say whose it is (experiment, attempt, fence, deadline)."""

    name: str
    command: tuple[str, ...]
    mounts: tuple[Mount, ...]
    limits: Limits = Limits()
    labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    gpu: str | None = None  # a UUID


@dataclass(frozen=True)
class Exit:
    """How the first process ended: its code, or 128 + the signal's number."""

    code: int
    out_of_memory: bool = False


@dataclass(frozen=True)
class Usage:
    cpu_seconds: float  # of all processes in the container, so far
    peak_memory_bytes: int | None


class Box(Protocol):
    """One started container."""

    name: str
    labels: Mapping[str, str]

    def poll(self) -> Exit | None:
        """How it ended, or None while it runs."""

    def usage(self) -> Usage:
        """What it used; after its end the last values seen."""

    def log(self, limit: int = 8192) -> str:
        """The last `limit` bytes it printed, stdout and stderr together, decoded; untrusted."""

    def kill(self) -> None:
        """SIGKILL to every process in it; returns when none is left. Harmless when it is over."""

    def remove(self) -> None:
        """Kill, and leave nothing behind."""


class Driver(Protocol):
    name: str

    @property
    def warning(self) -> str:
        """What this driver cannot keep here, for the page and `doctor`; empty when nothing."""

    def check(self) -> None:
        """Raise SandboxUnavailable unless containers can be started here."""

    def image(self) -> str:
        """The identity of what containers run on, pinned per experiment."""

    def start(self, job: Job) -> Box:
        """Start `job` detached: no network, an unprivileged user, a read-only root."""

    def adopt(self, name: str) -> Box | None:
        """The container of that name, if it outlived whoever started it."""

    def boxes(self) -> list[Box]:
        """Every container of this installation, running or ended."""

    def visible(self) -> AbstractContextManager[list[Path]]:
        """Every host path whose content a container can read besides its own mounts, for as long as the context
        lasts: what is searched for held-out text."""
