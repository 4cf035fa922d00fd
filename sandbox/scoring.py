"""One trial of one genome, outside any experiment: what `manage.py score` does."""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from evolution.errors import BadInput
from evolution.genomes import read_directory, supported
from sandbox import leaks, orders, peak, texts
from sandbox.conduct import conduct
from sandbox.devices import devices, threads
from sandbox.drivers.base import Driver, Limits
from sandbox.models import AttemptState, Purpose
from sandbox.outcome import Outcome
from sandbox.trial import Baseline, Order
from trainer.contract import GenomeError, read_genome
from trainer.harness.outside.server import Report
from trainer.harness.outside.text import HeldOut, TextError

Show = Callable[[str, float], None]  # a phase, and progress 0 … 1


@dataclass(frozen=True)
class Screen:
    """Passes what a trial tells to whoever shows it."""

    show: Show

    def phase(self, state: AttemptState, container: str) -> None:
        self.show(state.label, 0.0 if state == AttemptState.TRAINING else 1.0)

    def report(self, report: Report) -> None:
        """The claimed numbers of the last report are in the outcome."""

    def tick(self, progress: float) -> None:
        self.show(AttemptState.TRAINING.label if progress < 1 else AttemptState.JUDGING.label, progress)


def score(
    directory: Path, data: str, driver: Driver, *,
    budget_tokens: int | None, budget_seconds: float | None, seed: int, show: Show, purpose: Purpose = Purpose.SCORE,
    baseline: Baseline | None = None, split: HeldOut = "public",
) -> Outcome:
    """Train and judge the genome in `directory`; BadInput for a genome or data that cannot be used.

    With a `baseline` it is held to a multiple of what that needed, as variants of an experiment are.
    """
    for budget in (budget_tokens, budget_seconds):
        if budget is not None and budget <= 0:
            raise BadInput("A budget must be more than 0: give --budget-tokens or --budget-seconds a positive number.")
    try:
        genome = supported(read_genome(directory))
        text = texts.of_genome(genome, data, directory=directory)
        text.windows(split)  # too little of it may be new to the training text: said before an hour of training
    except (GenomeError, TextError) as error:
        raise BadInput(str(error)) from error
    files = read_directory(directory)
    device = devices()[0]
    with tempfile.TemporaryDirectory(prefix="darwin-score-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        _lay_out(files, folder / "genome")
        leaks.refuse_known_text(text, driver, folder / "genome")
        return conduct(Order(
            name=f"darwin-score-{os.getpid()}-{time.time_ns()}",
            purpose=purpose,
            genome_dir=folder / "genome",
            genome=genome,
            folder=folder,
            text=text,
            seed=seed,
            budget_tokens=budget_tokens,
            budget_seconds=budget_seconds,
            threads=threads(),
            gpu=device.gpu,
            split=split,
            baseline=baseline or Baseline(),
            peak_flops=peak.flops_per_second(driver, device),
            image=driver.image(),
            limits=replace(Limits(), cpus=float(threads()), wall_seconds=orders.FIRST_WALL_SECONDS),
        ), driver, Screen(show))


def _lay_out(files: dict[str, bytes], folder: Path) -> None:
    """Write a copy that the sandbox's unprivileged user can read."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)
    for parent in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        parent.chmod(0o755)
