"""Which MFU counts in selection: a GPU's, of those whose loss is not worse than the baseline's beyond the noise."""

from collections.abc import Hashable, Sequence

from evolution.genetics.alarms import NOISE
from evolution.models import Experiment, Variant

SPREADS = 2.0  # of the noise of a pair: what is further off is worse, and not unlucky


def counting(variants: Sequence[Variant]) -> dict[Hashable, float | None]:
    """The MFU of each variant, by number, as far as it is selected on; all are of one experiment.

    A CPU's peak is a timed matrix product, so its MFU is informational. Elsewhere fetching text without training on it
    looks fast: whoever pays for that with its loss has no MFU that counts.
    """
    if not variants or not is_comparable(variants[0].experiment):
        return {one.number: None for one in variants}
    worst = _worst(variants[0].experiment)
    return {one.number: one.mfu if _is_good(one, worst) else None for one in variants}


def noise_of(experiment: Experiment) -> float:
    """What a difference of two screened losses is worth, nats: calibrated, or the documented default."""
    measured = (experiment.noise.get("pair_sd") or {}).get("value")
    return float(measured) if measured else NOISE


def is_comparable(experiment: Experiment) -> bool:
    """Whether its peak comes from the table: the judge wrote down what the baseline was trained on."""
    baseline = experiment.baseline
    scored = baseline.events.filter(kind="trial.ended", data__purpose="score").last() if baseline else None
    return scored is None or scored.data.get("result", {}).get("device") != "cpu"


def _worst(experiment: Experiment) -> float | None:
    baseline = experiment.baseline
    known = baseline.val_loss if baseline is not None else None
    return None if known is None else known + SPREADS * noise_of(experiment)


def _is_good(one: Variant, worst: float | None) -> bool:
    return worst is None or (one.val_loss is not None and one.val_loss <= worst)
