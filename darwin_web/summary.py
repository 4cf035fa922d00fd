"""An experiment in one object: what `evolve --json` ends with."""

from typing import Any

from evolution.models import Experiment, Status, Variant

NUMBERS = (
    "val_loss", "val_loss_error", "perplexity", "bits_per_byte", "mfu", "tokens_per_second", "flops_per_token",
    "parameters", "train_seconds", "device_seconds",
)


def summary(experiment: Experiment) -> dict[str, Any]:
    """`replicated` says whether a number stands on more than one seed; a number that is missing is null."""
    variants = experiment.variants
    return {
        "experiment": experiment.slug,
        "status": experiment.status,
        "reason": experiment.reason,
        "baseline": _numbers(experiment.baseline),
        "champion": _numbers(experiment.champion),
        "counts": {
            "generations": experiment.generation,
            "variants": variants.count(),
            **{status.value: variants.filter(status=status).count() for status in Status},
        },
    }


def _numbers(variant: Variant | None) -> dict[str, Any] | None:
    if variant is None:
        return None
    return {
        "variant": variant.number, "commit": variant.commit, "status": variant.status, "title": variant.title,
        **{name: getattr(variant, name) for name in NUMBERS}, "replicated": False,
    }
