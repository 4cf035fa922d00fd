"""From an attempt's rows to the order a trial is run from."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from django.conf import settings

from evolution.genomes import store_of
from evolution.models import Experiment, Variant
from sandbox import leaks, peak, pins, texts
from sandbox.devices import devices, threads
from sandbox.drivers.base import Driver, Limits
from sandbox.limits import installation
from sandbox.models import Attempt, Purpose, Verdict
from sandbox.trial import Baseline, Order
from trainer.contract import read_genome
from trainer.harness.outside.text import Text

CHECK_WALL_SECONDS = 180.0
FIRST_WALL_SECONDS = 6 * 3600.0  # before the baseline is known; wall clock is only the generous kill
WALL_RATIO = 10.0


def order(attempt: Attempt) -> tuple[Order, Driver]:
    """Everything one attempt needs, with the genome checked out; SandboxUnavailable when its driver is not there."""
    trial = attempt.trial
    variant, experiment = trial.variant, trial.variant.experiment
    purpose = Purpose(trial.purpose)
    driver = pins.pinned(experiment)
    folder = attempt_folder(attempt.pk)
    genome_dir = folder / "genome"
    if not genome_dir.exists():
        store_of(experiment).checkout(variant.commit, genome_dir)
    text = text_of(experiment, genome_dir)
    device = next((one for one in devices() if one.name == attempt.device), devices()[0])
    baseline = experiment.baseline if experiment.baseline_id != variant.pk else None
    scored = purpose != Purpose.CHECK
    if baseline is None:
        leaks.refuse_known_text(text, driver, genome_dir)
    return Order(
        name=f"darwin-{installation()}-{attempt.pk}",
        purpose=purpose,
        genome_dir=genome_dir,
        genome=read_genome(genome_dir),
        folder=folder,
        text=text,
        seed=trial.seed,
        budget_tokens=trial.budget_tokens,
        budget_seconds=trial.budget_seconds,
        threads=threads(),
        gpu=device.gpu,
        split="private" if purpose == Purpose.CONFIRM else "public",
        baseline=baseline_of(experiment, variant) if scored else checked_baseline_of(experiment, variant),
        peak_flops=peak.flops_per_second(driver, device) if scored else None,
        limits=replace(Limits(), cpus=float(threads()), wall_seconds=_wall_seconds(baseline, purpose)),
        labels={"attempt": str(attempt.pk), "experiment": experiment.slug,
                "fence": str(attempt.fence)},
        image=experiment.image,
        held_out_in=leaks.find_known_text(text, driver, genome_dir) if scored and baseline is not None else "",
    ), driver


def attempt_folder(attempt_id: int) -> Path:
    folder = Path(settings.DARWIN_VAR) / "attempts" / str(attempt_id)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def text_of(experiment: Experiment, genome_dir: Path) -> Text:
    """See texts.of_experiment."""
    return texts.of_experiment(experiment, genome_dir)


def baseline_of(experiment: Experiment, variant: Variant) -> Baseline:
    """What `variant` is held to: what the screening run of the experiment's baseline needed."""
    known = _known(experiment, variant, Purpose.SCORE)
    return Baseline(**{one.name: known.get(one.name) for one in fields(Baseline)})


def checked_baseline_of(experiment: Experiment, variant: Variant) -> Baseline:
    """What a check of `variant` is held to: the pace of the baseline's check, and nothing else. So short a run says
    little about the rest: imports and the first steps are most of it."""
    known = _known(experiment, variant, Purpose.CHECK)
    return Baseline(
        steady_device_seconds_per_token=known.get("steady_device_seconds_per_token"),
        steady_tokens_per_batch=known.get("steady_tokens_per_batch"),
    )


def _known(experiment: Experiment, variant: Variant, purpose: Purpose) -> dict[str, Any]:
    """What a trial of the experiment's baseline gave; nothing where `variant` is the baseline."""
    if experiment.baseline is None or experiment.baseline_id == variant.pk:
        return {}
    trial = experiment.baseline.trials.filter(purpose=purpose, verdict=Verdict.MEASURED).last()
    return trial.result if trial is not None else {}


def _wall_seconds(baseline: Variant | None, purpose: Purpose) -> float:
    if purpose == Purpose.CHECK:
        return CHECK_WALL_SECONDS
    if baseline is None or baseline.train_seconds is None:
        return FIRST_WALL_SECONDS
    return 300.0 + WALL_RATIO * baseline.train_seconds
