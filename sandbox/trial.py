"""What a trial is, without a database: the order to run it, what it is held to, and who watches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from evolution.errors import DarwinError
from sandbox import mounts
from sandbox.drivers.base import Job, Limits
from sandbox.models import AttemptState, Purpose
from trainer.contract import Cause, Genome
from trainer.harness.outside.server import Report
from trainer.harness.outside.text import HeldOut, Text

TICK_SECONDS = 0.1


class Abandoned(DarwinError):
    """The trial must stop now: called off, or this process is being ended."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Watcher(Protocol):
    def phase(self, state: AttemptState, container: str) -> None: ...
    def report(self, report: Report) -> None: ...
    def tick(self, progress: float) -> None: ...


@dataclass(frozen=True)
class Baseline:
    """What the baseline's own trial needed. A variant is held to a multiple of each; None: there is nothing to hold
    it to (it is the baseline, or a genome on its own)."""

    device_seconds: float | None = None  # from the first text served to the end of the process
    setup_device_seconds: float | None = None  # before that: imports, building the model, compiling
    saved_bytes: int | None = None
    genome_bytes: int | None = None
    judge_seconds_per_token: float | None = None  # of one answer about a full window
    prefix_seconds_per_token: float | None = None  # and of the container that is asked about prefixes
    load_seconds: float | None = None  # the judge's container, loading the model
    flops_per_token: float | None = None
    tokens_per_iteration: int | None = None  # of a trainer that owns its loop
    steady_device_seconds_per_token: float | None = None  # of its check, after the first few batches
    steady_tokens_per_batch: float | None = None  # likewise


@dataclass(frozen=True)
class Order:
    """What to run. `folder` outlives this process: the text server's state and the checkpoint are in it."""

    name: str  # unique, prefix of the containers' names
    purpose: Purpose
    genome_dir: Path
    genome: Genome
    folder: Path
    text: Text
    seed: int
    budget_tokens: int | None
    budget_seconds: float | None
    threads: int
    gpu: str | None = None
    stream_seed: int | None = None  # of the order of the text; None: `seed` is that too
    split: HeldOut = "public"  # private: what claims about a champion are made on
    baseline: Baseline = field(default_factory=Baseline)
    peak_flops: float | None = None  # of the device, for MFU
    limits: Limits = field(default_factory=Limits)
    labels: Mapping[str, str] = field(default_factory=dict)
    image: str = ""  # what the containers run on, for the result's hashes
    held_out_in: str = ""  # the file of the genome in which strings of the held-out text were found

    @property
    def device(self) -> str:
        return "cpu" if self.gpu is None else "cuda"


def job(order: Order, part: str, *, module: str, limits: Limits, weights: Path | None = None) -> Job:
    """The container `part` of a trial, which runs `trainer.harness.inside.<module>`."""
    socket_dir = order.folder / f"{part}-socket"
    socket_dir.mkdir(mode=0o755, exist_ok=True)
    return Job(
        name=f"{order.name}-{part}",
        command=("python", "-P", "-m", f"trainer.harness.inside.{module}"),
        mounts=mounts.of(order.genome_dir, socket_dir, weights),
        limits=limits,
        labels={**order.labels, "part": part},
        environment={
            "DARWIN_THREADS": str(order.threads),
            "OMP_NUM_THREADS": str(order.threads),
            "OMP_WAIT_POLICY": "passive",
        },
        gpu=order.gpu,
    )


def socket_of(order: Order, part: str) -> Path:
    """Where the harness listens for the container `part`."""
    return order.folder / f"{part}-socket" / "harness.sock"
