"""Orders for tiny trainings, and somebody who watches them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sandbox.drivers.base import Limits
from sandbox.models import AttemptState, Purpose
from sandbox.trial import Order
from tests import cast
from tests.trainer.conftest import sentences
from trainer.contract import parse_genome
from trainer.harness.outside.server import Report
from trainer.harness.outside.text import prepare

CONTEXT = 16
TEXT = prepare(sentences(1, 3000), vocabulary="bytes", context=CONTEXT)


class Watch:
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.reports: list[Report] = []

    def phase(self, state: AttemptState, container: str) -> None:
        assert state == AttemptState.TRAINING

    def report(self, report: Report) -> None:
        self.reports.append(report)

    def tick(self, progress: float) -> None:
        assert 0 <= progress <= 1


@contextmanager
def ordered(*, tokens: int, manifest: bytes = cast.MANIFEST, **files: bytes) -> Iterator[Order]:
    """An order for the tiny genome with other files, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="darwin-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        genome = cast.genome(folder / "genome", **files)
        (genome / "genome.toml").write_bytes(manifest)
        yield Order(
            name=folder.name, purpose=Purpose.SCORE, genome_dir=genome, genome=parse_genome(manifest.decode()),
            folder=folder, text=TEXT, seed=3, budget_tokens=tokens, budget_seconds=None, threads=1,
            limits=replace(Limits(), wall_seconds=120.0),
        )
