"""An experiment in one object: what `evolve --json` ends with."""

from datetime import datetime
from typing import Any

from darwin_web.pages.figures import Claim, claims
from evolution import contests, repair
from evolution.efficiency import is_comparable
from evolution.genetics import evidence
from evolution.models import Contest, ContestOutcome, Experiment, Replicate, Status, Variant

NUMBERS = (
    "val_loss", "val_loss_error", "perplexity", "bits_per_byte", "mfu", "tokens_per_second", "flops_per_token",
    "parameters", "train_seconds", "device_seconds",
)
REPLICATED = ("val_loss", "perplexity", "mfu", "tokens_per_second", "device_seconds")


def summary(experiment: Experiment) -> dict[str, Any]:
    """`replicated` says whether a number stands on more than one seed; a number that is missing is null.

    A replicated perplexity is exp of the mean loss of all confirmation seeds, on the private text; what the screening
    run gave on the public text is under `screening`. `intervals` has the 95 % interval of every mean over seeds: a
    number that is not in it is of the one screening run. Compare like with like: leaders are screened only.
    """
    variants = experiment.variants
    return {
        "experiment": experiment.slug,
        "status": experiment.status,
        "reason": experiment.reason,
        "baseline": _described(experiment.baseline),
        "champion": _champion(experiment),
        "leader": _screened(contests.leader(experiment)),
        "contests": [_contest(one) for one in experiment.contests.select_related("champion", "challenger")],
        "noise": experiment.noise or None,
        "memory": {"mode": experiment.memory, "frozen_at": _time(experiment.frozen_at)},
        "counts": {
            "generations": experiment.generation,
            "variants": variants.count(),
            "contests": experiment.contests.count(),
            "confirmation_runs": Replicate.objects.filter(variant__experiment=experiment).exclude(verdict="").count(),
            **{status.value: variants.filter(status=status).count() for status in Status},
        },
        "repairs": repair.counted(variants.all()),
    }


def _screened(variant: Variant | None) -> dict[str, Any] | None:
    """A variant with what its one screening run gave."""
    if variant is None:
        return None
    return {
        "variant": variant.number, "commit": variant.commit, "status": variant.status, "title": variant.title,
        **{name: getattr(variant, name) for name in NUMBERS}, "replicated": False, "seeds": 1,
        "perplexity_interval": None, "intervals": {}, "mfu_is_informational": not is_comparable(variant.experiment),
    }


def _described(variant: Variant | None) -> dict[str, Any] | None:
    """A variant with its confirmation runs' means where it has two or more, else with its screening run."""
    described = _screened(variant)
    if variant is None or described is None:
        return None
    known = claims(variant)
    perplexity = known["perplexity"]
    screening = {name: described[name] for name in NUMBERS}
    if not perplexity.is_replicated:
        return {**described, "screening": screening}
    replicated = {name: claim for name, claim in known.items() if name in REPLICATED and claim.is_replicated}
    return {
        **described, **{name: claim.value for name, claim in replicated.items()},
        "intervals": {name: _limits(claim) for name, claim in replicated.items()},
        "val_loss_error": known["val_loss"].error, "bits_per_byte": None, "replicated": True,
        "seeds": perplexity.seeds, "perplexity_interval": _limits(perplexity), "screening": screening,
    }


def _champion(experiment: Experiment) -> dict[str, Any] | None:
    """The champion and what proved it; the baseline leads until then, and nothing is claimed for it."""
    described = _described(experiment.champion)
    if described is None or experiment.champion is None:
        return None
    won = experiment.champion.challenges.filter(outcome=ContestOutcome.PROMOTED).select_related("champion").last()
    return {
        **described,
        "gain": won.gain if won else None,
        "gain_interval": [won.gain_low, won.gain_high] if won else None,
        "gain_against": won.champion.number if won else None,
        "e_value": won.e_value if won else None,
    }


def _contest(one: Contest) -> dict[str, Any]:
    return {
        "contest": one.number, "champion": one.champion.number, "challenger": one.challenger.number,
        "outcome": one.outcome, "reason": one.reason, "pairs": one.pairs, "e_value": one.e_value,
        "threshold": evidence.threshold(one.number), "gain": one.gain,
        "gain_interval": None if one.gain_low is None else [one.gain_low, one.gain_high], "seeds": one.seeds,
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _limits(claim: Claim) -> list[float | None]:
    return [claim.low, claim.high]
