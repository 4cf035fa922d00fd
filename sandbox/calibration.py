"""A/A runs before a campaign: how much a number moves when nothing was changed, what can be seen, and what it costs.

The baseline is trained under several seeds, and with each once more on the same stream of text with another
initialisation. No row of the population is touched; the private text stays unseen.
"""

import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from django.db import transaction
from django.utils import timezone

from evolution.contests import PER_GENERATION
from evolution.errors import BadInput, DarwinError, Infrastructure
from evolution.genetics import intervals, power
from evolution.genetics.evidence import MAX_PAIRS
from evolution.genetics.intervals import Interval
from evolution.genomes import store_of
from evolution.memory import remember
from evolution.models import Experiment, ExperimentStatus
from sandbox import leaks, orders, pins, texts
from sandbox.conduct import conduct
from sandbox.devices import Device, devices, threads
from sandbox.drivers.base import Driver, Limits
from sandbox.models import ACTIVE, Attempt, Purpose
from sandbox.outcome import Outcome
from sandbox.scoring import Screen, Show
from sandbox.trial import Order
from trainer.contract import OURS, read_genome

SEEDS = 6
LEAST_SEEDS = 2  # one has no deviation
POWER = 0.8


@dataclass(frozen=True)
class Run:
    """One training of the baseline: its loss in nats per token, and the seconds it took in all and of the device."""

    seed: int
    val_loss: float
    seconds: float  # containers, training and judge
    device_seconds: float | None
    tokens: int | None


@dataclass(frozen=True)
class Pair:
    """Two trainings on one stream of text with different initialisations."""

    first: Run
    twin: Run

    @property
    def difference(self) -> float:
        return self.first.val_loss - self.twin.val_loss


def refuse_if_busy(experiment: Experiment) -> None:
    """BadInput while the experiment runs, Infrastructure while the device trains something else."""
    now = Experiment.objects.get(pk=experiment.pk)
    if now.status == ExperimentStatus.RUNNING:
        raise BadInput(f"“{now.slug}” is running: pause it first, so that nothing else trains on this device.")
    busy = Attempt.objects.filter(device=devices()[0].name, state__in=ACTIVE)
    other = busy.select_related("trial__variant__experiment").first()
    if other is not None:
        slug = other.trial.variant.experiment.slug
        raise Infrastructure(f"{other.device} is training for “{slug}”: wait until it is free, then calibrate again.")


def measure(experiment: Experiment, *, seeds: int, show: Show) -> list[Pair]:
    """Train the experiment's baseline 2 × `seeds` times in its sandbox and judge it on the public text.

    BadInput and Infrastructure as in `refuse_if_busy`; DarwinError when the baseline gives no number.
    """
    if seeds < LEAST_SEEDS:
        raise BadInput(f"One seed has no deviation: give --seeds {LEAST_SEEDS} or more.")
    refuse_if_busy(experiment)
    driver, device = pins.pinned(experiment), devices()[0]
    drawn = _seeds(experiment, 2 * seeds)
    with tempfile.TemporaryDirectory(prefix="darwin-calibrate-") as temporary:
        plain = _order(experiment, driver, device, Path(temporary))
        pairs: list[Pair] = []
        for number, (seed, other) in enumerate(zip(drawn[:seeds], drawn[seeds:], strict=True)):
            runs = []
            for half, initialisation in enumerate((seed, other)):
                refuse_if_busy(experiment)
                order = replace(plain, seed=initialisation, stream_seed=seed)
                done = 2 * number + half
                runs.append(_run(order, driver, _part_of(show, done, 2 * seeds), number=done))
                plain = _bounded(plain, runs[-1])
            pairs.append(Pair(*runs))
    return pairs


def _seeds(experiment: Experiment, count: int) -> list[int]:
    """The same for the same experiment, so that a calibration can be repeated; in no relation to its trials' seeds."""
    return Random(f"calibrate {experiment.slug} {experiment.seed}").sample(range(1, 1 << 31), count)  # noqa: S311


def noise_of(experiment: Experiment, pairs: Sequence[Pair], *, price: float | None) -> dict[str, Any]:
    """What Experiment.noise holds: losses in nats, times in seconds and hours, `price` in dollars for a device hour."""
    first = [pair.first.val_loss for pair in pairs]
    differences = [pair.difference for pair in pairs]
    runs = [run for pair in pairs for run in (pair.first, pair.twin)]
    pair_sd = intervals.deviation(differences)
    assert pair_sd is not None  # noqa: S101 measure() makes two pairs or more
    max_pairs = experiment.confirm_pairs or MAX_PAIRS
    one_seed = intervals.t_quantile((1 + intervals.CONFIDENCE) / 2, len(pairs) - 1) * pair_sd.value
    return {
        "at": timezone.now().isoformat(),
        "sandbox": experiment.sandbox, "image": experiment.image, "device": devices()[0].name,
        "budget_tokens": experiment.budget_tokens, "budget_seconds": experiment.budget_seconds,
        "tokens": runs[-1].tokens,
        "seeds": [[pair.first.seed, pair.twin.seed] for pair in pairs],
        "losses": [[pair.first.val_loss, pair.twin.val_loss] for pair in pairs],
        "loss": _told(intervals.mean(first)),
        "seed_sd": _told(intervals.deviation(first)),
        "pair_sd": _told(pair_sd),
        "one_seed": {"nats": one_seed, "percent": percent(one_seed)},
        "visible": _visible(pair_sd, max_pairs),
        "campaign": _campaign(experiment, runs, max_pairs=max_pairs, price=price),
    }


@transaction.atomic
def record(experiment: Experiment, noise: dict[str, Any], *, actor: str) -> None:
    """Keep `noise` with the experiment and in its journal."""
    Experiment.objects.filter(pk=experiment.pk).update(noise=noise)
    experiment.noise = noise
    remember(experiment, "noise.calibrated", actor=actor, data=noise)


def percent(nats: float) -> float:
    """How much lower the perplexity is, in %, when the loss is lower by `nats`."""
    return -100 * math.expm1(-nats)


def _told(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else {"value": interval.value, "low": interval.low, "high": interval.high}


def _visible(pair_sd: Interval, max_pairs: int) -> dict[str, float | int | None]:
    """The gain that the first contest promotes with POWER; its interval is that of the deviation."""
    deviations = pair_sd.value, pair_sd.low, pair_sd.high
    value, low, high = (power.smallest_visible(sd, max_pairs=max_pairs, power=POWER) for sd in deviations)
    return {
        "nats": value, "low": low, "high": high, "percent": None if value is None else percent(value),
        "pairs": max_pairs, "power": POWER,
    }


def _campaign(
    experiment: Experiment, runs: Sequence[Run], *, max_pairs: int, price: float | None
) -> dict[str, float | int | None]:
    """Trials, hours and money of a whole campaign: with contests that are given up early, and at most.

    A device hour is one hour for which one device is held, whatever it does. The champion's runs of a generation are
    shared by its challengers.
    """
    screening = 1 + experiment.population * experiment.generations
    pairs = power.expected_pairs(0.0, max_pairs=max_pairs)
    contests = experiment.generations * (PER_GENERATION + 1) if experiment.confirm_pairs else 0
    typical, most = screening + math.ceil(contests * pairs), screening + contests * max_pairs
    seconds = sum(run.seconds for run in runs) / len(runs)
    used = [run.device_seconds for run in runs if run.device_seconds is not None]
    hours, hours_most = (trials * seconds / 3600 for trials in (typical, most))
    count = len(devices())
    return {
        "trials": typical, "trials_most": most, "trial_seconds": seconds,
        "compute_seconds": sum(used) / len(used) if used else None, "devices": count,
        "device_hours": hours, "device_hours_most": hours_most,
        "hours": hours / count, "hours_most": hours_most / count,
        "price_usd": price, "cost_usd": None if price is None else price * hours,
        "cost_usd_most": None if price is None else price * hours_most,
    }


def _order(experiment: Experiment, driver: Driver, device: Device, folder: Path) -> Order:
    """What all runs share; `folder` is that of the genome's copy, and each run gets one of its own in it."""
    assert experiment.baseline is not None  # noqa: S101 created with the experiment
    folder.chmod(0o755)
    genome_dir = folder / "genome"
    store_of(experiment).checkout(experiment.baseline.commit, genome_dir)
    text = texts.of_experiment(experiment, genome_dir)
    leaks.refuse_known_text(text, driver, genome_dir)
    return Order(
        name=f"darwin-calibrate-{os.getpid()}-{time.time_ns()}",
        purpose=Purpose.SCORE,
        genome_dir=genome_dir,
        genome=read_genome(genome_dir),
        folder=folder,
        text=text,
        seed=0,
        budget_tokens=experiment.budget_tokens,
        budget_seconds=experiment.budget_seconds,
        threads=threads(),
        gpu=device.gpu,
        image=experiment.image,
        limits=replace(Limits(), cpus=float(threads()), wall_seconds=orders.FIRST_WALL_SECONDS),
    )


def _run(order: Order, driver: Driver, show: Show, *, number: int) -> Run:
    folder = order.folder / str(number)
    folder.mkdir(mode=0o755)
    began = time.monotonic()
    outcome = conduct(replace(order, name=f"{order.name}-{number}", folder=folder), driver, Screen(show))
    _must_be_measured(outcome, order.seed)
    return Run(
        seed=order.seed,
        val_loss=outcome.numbers["val_loss"],
        seconds=time.monotonic() - began,
        device_seconds=outcome.numbers.get("device_seconds"),
        tokens=outcome.numbers.get("train_tokens"),
    )


def _must_be_measured(outcome: Outcome, seed: int) -> None:
    if outcome.cause in OURS:
        raise Infrastructure(outcome.sentence())
    if outcome.cause is not None:
        raise DarwinError(f"The baseline gave no number with seed {seed} ({outcome.sentence()}): correct the genome.")


def _bounded(plain: Order, done: Run) -> Order:
    """After the first run: the generous clock on the wall, and, of a budget in seconds, its tokens for all that follow.

    Runs of unequal length would be no pairs.
    """
    limits = replace(plain.limits, wall_seconds=300.0 + orders.WALL_RATIO * done.seconds)
    if plain.budget_tokens is None and done.tokens and plain.genome.command is None:
        return replace(plain, limits=limits, budget_tokens=done.tokens, budget_seconds=None)
    return replace(plain, limits=limits)


def _part_of(show: Show, done: int, count: int) -> Callable[[str, float], None]:
    """`show` for run number `done` (from 0) of `count`."""

    def part(phase: str, progress: float) -> None:
        show(f"run {done + 1} of {count}, {phase}", (done + min(max(progress, 0.0), 1.0)) / count)

    return part
