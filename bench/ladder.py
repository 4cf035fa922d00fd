"""The product's own ladder, climbed by patches of a corpus: drafts, screening, checks in the sandbox, nothing else."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.patches import Patch, builtin
from evolution import experiments
from evolution.drafting import draft
from evolution.errors import DarwinError, PatchRefused
from evolution.genomes import store_of
from evolution.models import Experiment, Kind, Status, Variant
from evolution.options import Options
from evolution.preflight import screen
from sandbox import attempts, runner
from sandbox.devices import devices
from sandbox.drivers.base import Driver
from sandbox.models import Purpose
from tests.trainer.adapters import tiny

TRIES = 3  # a device time too long is seen twice, as in every trial on a CPU; an engine may fail once
PASSED = "passed"


@dataclass(frozen=True)
class Climb:
    """How far one patch came: the rung that stopped it, or "passed"."""

    name: str
    kind: str
    rung: str
    reason: str
    seconds: float  # of all rungs
    by_rung: Mapping[str, float]

    @property
    def stopped(self) -> bool:
        return self.rung != PASSED


class Ladder:
    """One experiment whose baseline has been checked, for patches of its genome."""

    def __init__(self, name: str, files: Mapping[str, bytes], driver: Driver, *, data: str, tokens: int) -> None:
        with tempfile.TemporaryDirectory(prefix="darwin-bench-") as folder:
            directory = _written(files, Path(folder) / "genome")
            self.experiment: Experiment = experiments.create(Options(
                name=name, genome=str(directory), data=data, agent="builtin", sandbox=driver.name, image=driver.image(),
                budget_tokens=tokens, confirm_pairs=0,
            ), actor="system")
        self.baseline = self.experiment.variants.get(number=0)
        self.files = store_of(self.experiment).files(self.baseline.commit)
        self.first = self._climbed(self.baseline, name, "baseline")
        if self.first.stopped:
            raise DarwinError(f"the baseline of {name} was stopped by “{self.first.rung}”: {self.first.reason}")

    def climb(self, patch: Patch) -> Climb:
        """Draft `patch`, and check it as far as it comes."""
        return self.try_files(patch.applied(self.files), name=patch.name, kind=patch.kind)

    def try_files(self, files: Mapping[str, bytes], *, name: str, kind: str) -> Climb:
        """The same for a whole tree."""
        try:
            variant = draft(
                self.experiment, parent=self.baseline, files=files, kind=Kind.MUTATION, author="bench", title=name
            )
        except PatchRefused as refused:
            return Climb(name, kind, "path gate", str(refused), 0.0, {})
        return self._climbed(variant, name, kind)

    def _climbed(self, variant: Variant, name: str, kind: str) -> Climb:
        began = time.monotonic()
        if screen(variant) == Status.SCREENED:
            _check(variant)
        variant.refresh_from_db()
        failed = variant.checks.filter(passed=False).first()
        spent = {one.name: one.seconds for one in variant.checks.all()}
        if failed is None and variant.status != Status.CHECKED:
            raise DarwinError(f"“{name}” is {variant.get_status_display()} after {time.monotonic() - began:.0f} s")
        rung, reason = (failed.name, failed.detail) if failed else (PASSED, "")
        return Climb(name, kind, rung, reason, sum(spent.values()), spent)


def _check(variant: Variant) -> None:
    for _ in range(TRIES):
        attempt = attempts.open_attempt(variant, Purpose.CHECK, devices()[0])
        if attempt is None:
            raise DarwinError("the device is taken: stop what trains on this machine")
        runner.run(attempt.pk)
        variant.refresh_from_db()
        if variant.status != Status.SCREENED:
            return


def command_genome() -> dict[str, bytes]:
    """The small trainer of nanoGPT's shape, with files and a manifest as import_genome makes them."""
    with tempfile.TemporaryDirectory(prefix="darwin-bench-") as folder:
        directory = tiny.genome(Path(folder) / "tiny")
        return {
            path.relative_to(directory).as_posix(): path.read_bytes()
            for path in directory.rglob("*") if path.is_file()
        }


GENOMES = {"builtin": builtin, "command": command_genome}


def _written(files: Mapping[str, bytes], directory: Path) -> Path:
    for path, content in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return directory
