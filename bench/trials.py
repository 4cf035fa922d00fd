"""Trials that a benchmark asks for once and keeps: a genome, a seed, a budget, and what came of it."""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from evolution.errors import BadInput, Infrastructure
from sandbox import scoring
from sandbox.drivers.base import Driver
from sandbox.outcome import Outcome
from sandbox.trial import Baseline
from trainer.contract import OURS
from trainer.harness.outside.text import HeldOut

Key = tuple[str, int, int, int, str]


@dataclass(frozen=True)
class Trial:
    """One training as it was judged. `loss` in nats per token, `device_seconds` of CPU time; None: not measured."""

    genome: str  # the first digits of a hash over all its files
    seed: int
    tokens: int
    turn: int  # the same trial again, later: another device time, the same loss
    verdict: str  # measured, failed or rejected
    reason: str
    loss: float | None
    mfu: float | None
    device_seconds: float | None
    wall_seconds: float  # everything, from the first container to the last
    split: HeldOut = "public"  # the text it was judged on
    trained: int | None = None  # tokens, all the same whether it was measured in the end
    needs: dict[str, Any] = field(default_factory=dict)  # what sandbox.trial.Baseline holds others to

    @property
    def key(self) -> Key:
        return self.genome, self.seed, self.tokens, self.turn, self.split

    @property
    def limits(self) -> Baseline:
        """What others are held to when this is the baseline's trial."""
        return Baseline(**self.needs)


@dataclass(frozen=True)
class Budget:
    """What every trial of a benchmark shares. Without `limits` nobody is held to any."""

    data: str
    tokens: int
    split: HeldOut = "public"
    limits: Baseline = field(default_factory=Baseline)


class Ledger:
    """All trials of a benchmark in one file of JSON lines, so that a benchmark that was ended goes on where it was."""

    def __init__(self, path: Path, driver: Driver, budget: Budget) -> None:
        self.path, self.driver, self.budget = path, driver, budget
        self.known = {one.key: one for one in map(_read, _lines(path))}

    def trial(self, files: Mapping[str, bytes], *, seed: int, turn: int = 0) -> Trial:
        """The trial of this genome with this seed, from the file or run now. Infrastructure when the sandbox fails."""
        key = self._key(files, seed, turn)
        if key not in self.known:
            self._keep(run(files, self.driver, self.budget, seed=seed, turn=turn))
        return self.known[key]

    @property
    def trials(self) -> list[Trial]:
        """Those of this budget, in the order in which they were run."""
        budget = self.budget
        return [one for one in self.known.values() if (one.tokens, one.split) == (budget.tokens, budget.split)]

    def has(self, files: Mapping[str, bytes], *, seed: int, turn: int = 0) -> bool:
        return self._key(files, seed, turn) in self.known

    def _key(self, files: Mapping[str, bytes], seed: int, turn: int) -> Key:
        return fingerprint(files), seed, self.budget.tokens, turn, self.budget.split

    def _keep(self, trial: Trial) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(trial), allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.known[trial.key] = trial


def run(files: Mapping[str, bytes], driver: Driver, budget: Budget, *, seed: int, turn: int = 0) -> Trial:
    """Train and judge `files` once; Infrastructure when it was our fault that it gave no number."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="darwin-bench-") as folder:
        lay_out(files, Path(folder))
        outcome = scoring.score(
            Path(folder), budget.data, driver, budget_tokens=budget.tokens, budget_seconds=None, seed=seed,
            show=lambda *_: None, baseline=budget.limits, split=budget.split,
        )
    if outcome.cause in OURS:
        raise Infrastructure(outcome.sentence())
    return _trial(files, outcome, budget, seed=seed, turn=turn, wall=time.monotonic() - began)


def lay_out(files: Mapping[str, bytes], folder: Path) -> None:
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def fingerprint(files: Mapping[str, bytes]) -> str:
    """What stands for a genome in the file: the same for the same bytes under the same paths."""
    whole = hashlib.sha256()
    for path in sorted(files):
        whole.update(f"{path}\0{len(files[path])}\0".encode() + files[path])
    return whole.hexdigest()[:16]


def _trial(
    files: Mapping[str, bytes], outcome: Outcome, budget: Budget, *, seed: int, turn: int, wall: float
) -> Trial:
    numbers = outcome.numbers
    return Trial(
        genome=fingerprint(files), seed=seed, tokens=budget.tokens, turn=turn, verdict=outcome.verdict,
        reason=outcome.sentence() if outcome.cause else "", loss=numbers.get("val_loss"), mfu=numbers.get("mfu"),
        device_seconds=numbers.get("device_seconds"), wall_seconds=wall, split=budget.split,
        trained=numbers.get("train_tokens"),
        needs={one.name: numbers.get(one.name) for one in fields(Baseline)},
    )


def _lines(path: Path) -> list[str]:
    """The whole lines of the file; one that was cut off by a kill is no line."""
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.exists() else []


def _read(line: str) -> Trial:
    try:
        return Trial(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise BadInput(f"the file of results holds something else ({error}): name another one") from error
