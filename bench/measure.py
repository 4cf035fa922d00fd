"""Runs of recipes that take turns in the sandbox, and what is made of them."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.recipes import ITERATION_TOKENS, Recipe, shortened
from sandbox import peak, scoring
from sandbox.devices import devices
from sandbox.drivers.base import Driver
from sandbox.outcome import Outcome
from trainer.adapters.registry import adapter
from trainer.harness.outside.peaks import mfu

PHASES = ("before", "start", "import", "setup", "save", "end", "judge")  # beside the training
MAX_DRIFT = 1e-3  # nats between two runs of one seed


@dataclass(frozen=True)
class Run:
    """One trial. `overhead` is all of its `wall_seconds` that were not spent training, by phase."""

    recipe: str
    reason: str  # empty when it was measured
    tokens_per_second: float | None
    mfu: float | None
    loss: float | None
    train_seconds: float
    wall_seconds: float
    overhead: dict[str, float]


@dataclass(frozen=True)
class Row:
    """The runs of one recipe: medians, and the largest difference of loss between them."""

    recipe: str
    runs: int
    reason: str
    tokens_per_second: float | None
    mfu: float | None
    loss: float | None
    drift: float | None
    train_seconds: float | None
    overhead_seconds: float | None
    overhead: dict[str, float]

    @property
    def sound(self) -> bool:
        return not self.reason and (self.drift is None or self.drift <= MAX_DRIFT)


def in_turns(
    recipes: Sequence[Recipe], driver: Driver, *, data: str, seed: int, repeat: int, tell: Callable[[str], None]
) -> list[Row]:
    """`repeat` rounds in which every recipe runs once: what else the machine does hits all of them alike."""
    with tempfile.TemporaryDirectory(prefix="darwin-bench-") as folder:
        directories = [recipe.lay_out(Path(folder)) for recipe in recipes]
        for recipe, directory in zip(recipes, directories, strict=True):
            tell(f"{recipe.name}: once, to search this machine for the held-out text; not counted")
            _run(shortened(recipe, ITERATION_TOKENS), directory, driver, data=data, seed=seed)
        runs = []
        for turn in range(repeat):
            for recipe, directory in zip(recipes, directories, strict=True):
                tell(f"{recipe.name}: {recipe.tokens:,} tokens, run {turn + 1} of {repeat}")
                runs.append(_run(recipe, directory, driver, data=data, seed=seed))
    return [row(recipe.name, [run for run in runs if run.recipe == recipe.name]) for recipe in recipes]


def row(recipe: str, runs: Sequence[Run]) -> Row:
    """Medians over `runs`; the first reason when one of them has no number."""
    losses = [run.loss for run in runs if run.loss is not None]
    return Row(
        recipe=recipe,
        runs=len(runs),
        reason=next((run.reason for run in runs if run.reason), ""),
        tokens_per_second=_median(run.tokens_per_second for run in runs),
        mfu=_median(run.mfu for run in runs),
        loss=_median(losses),
        drift=max(losses) - min(losses) if len(losses) > 1 else None,
        train_seconds=_median(run.train_seconds for run in runs),
        overhead_seconds=_median(sum(run.overhead.values()) for run in runs),
        overhead={phase: _median(run.overhead[phase] for run in runs) or 0.0 for phase in PHASES},
    )


def _run(recipe: Recipe, directory: Path, driver: Driver, *, data: str, seed: int) -> Run:
    began = time.monotonic()
    outcome = scoring.score(
        directory, data, driver, budget_tokens=recipe.tokens, budget_seconds=None, seed=seed, show=lambda *_: None
    )
    wall = time.monotonic() - began
    speed, numbers = _speed(outcome), outcome.numbers
    top, flops = peak.flops_per_second(driver, devices()[0]), numbers.get("flops_per_token")
    overhead = {phase: outcome.phases.get(phase, 0.0) for phase in PHASES}
    train = outcome.phases.get("train", 0.0)
    overhead["before"] = max(wall - train - sum(overhead.values()), 0.0)
    return Run(
        recipe=recipe.name,
        reason=outcome.sentence() if outcome.cause else "",
        tokens_per_second=speed,
        mfu=mfu(flops, speed, top) if flops and speed and top else None,
        loss=numbers.get("val_loss"),
        train_seconds=train,
        wall_seconds=wall,
        overhead=overhead,
    )


def _speed(outcome: Outcome) -> float | None:
    """Tokens/s: as measured from the first text to the last save; of a trainer that owns its loop by the median of
    the times it prints for its iterations, which leave out its start, its looks at the loss and its checkpoint."""
    measured = outcome.numbers.get("tokens_per_second")
    if measured is not None:
        return float(measured)
    tokens = outcome.numbers.get("tokens_per_iteration")
    claims = [claim for line in outcome.log_tail.splitlines() if (claim := adapter("nanogpt").claimed(line))]
    milliseconds = _median(ms for claim in claims if (ms := claim.numbers.get("ms")))
    return 1e3 * tokens / milliseconds if tokens and milliseconds else None


def _median(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return statistics.median(known) if known else None
