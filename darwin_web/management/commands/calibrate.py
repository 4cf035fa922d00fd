import getpass
import json
import math
import os
from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from darwin_web.accounts import links
from darwin_web.management.base import Code, DarwinCommand
from darwin_web.management.commands import evolve
from darwin_web.management.terminal import bar, interruptible
from evolution import experiments
from evolution.errors import BadInput, ResumeMismatch
from evolution.models import Experiment
from evolution.options import Options, slug_of, stored_form
from sandbox import calibration, readiness

NO_PRICE = "for the cost give --price, or set DARWIN_DEVICE_HOUR_USD"


class Command(DarwinCommand):
    help = (
        "Measure the noise before a campaign: train the baseline again and again with nothing changed.\n"
        "Says which effect can be seen, and what the campaign takes in hours and money. Creates the experiment,\n"
        "paused, when there is none of that name; `evolve NAME` then runs it."
    )
    examples = (
        "manage.py calibrate mine --data shakespeare.txt --budget-tokens 300000",
        "manage.py calibrate mine --seeds 8 --price 2.50 --json",
    )
    meaning = {Code.DONE: "calibrated", Code.FAILED: "the baseline failed or was rejected"}

    def add_arguments(self, parser: CommandParser) -> None:
        evolve.Command().add_arguments(parser)
        parser.add_argument(
            "--seeds", type=int, default=calibration.SEEDS, metavar="N",
            help=f"pairs of trainings, at least {calibration.LEAST_SEEDS}; default {calibration.SEEDS}",
        )
        parser.add_argument(
            "--price", type=float, metavar="USD", help="of one hour of a device; default: DARWIN_DEVICE_HOUR_USD"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        interruptible()
        price = price_of(options["price"])
        if options["seeds"] < calibration.LEAST_SEEDS:
            raise BadInput(f"One seed has no deviation: give --seeds {calibration.LEAST_SEEDS} or more.")
        given = Options(**{name: options[name] for name in Options.__dataclass_fields__ if name in options})
        actor = f"user:{getpass.getuser()}"
        experiment = found_or_paused(given, actor=actor)
        with bar() as show:
            pairs = calibration.measure(experiment, seeds=options["seeds"], show=show)
        noise = calibration.noise_of(experiment, pairs, price=price)
        calibration.record(experiment, noise, actor=actor)
        if options["json"]:
            told = {"experiment": experiment.slug, "status": experiment.status, **noise}
            self.stdout.write(json.dumps(told, allow_nan=False))
        else:
            self.stdout.write("\n".join(sentences(experiment.slug, noise)))


def found_or_paused(given: Options, *, actor: str) -> Experiment:
    """The experiment of that name as it is, or a new one that nobody starts; ResumeMismatch when options differ."""
    if given.sandbox is not None:
        readiness.choose(given.sandbox)  # a driver that was asked for and is not there: said now
    experiment = Experiment.objects.filter(slug=slug_of(given.name)).first()
    if experiment is None:
        with transaction.atomic():  # no worker ever sees it running
            experiment = experiments.create(given, actor=actor, owner=links.owner())
            experiments.pause(experiment, actor=actor, reason="made by calibrate: `evolve` goes on with it")
        return experiment
    for field, value in stored_form(given).items():
        if getattr(experiment, field) != value:
            raise ResumeMismatch(
                f"“{experiment.slug}” was created with {field} = {getattr(experiment, field)}, not {value}: leave that "
                "out, or choose another name"
            )
    return experiment


def price_of(given: float | None) -> float | None:
    """Dollars for one hour of a device, or None when nobody said."""
    said = os.environ.get("DARWIN_DEVICE_HOUR_USD", "") if given is None else given
    if said == "":
        return None
    try:
        price = float(said)
    except ValueError:
        price = math.nan
    if not (math.isfinite(price) and price >= 0):
        raise BadInput(f"{said} is no price: give --price, or DARWIN_DEVICE_HOUR_USD, dollars for one device hour.")
    return price


def sentences(slug: str, noise: dict[str, Any]) -> list[str]:
    """The report for people."""
    seed_sd, pair_sd, visible, campaign = (noise[name] for name in ("seed_sd", "pair_sd", "visible", "campaign"))
    return [
        f"{slug}: loss {_span(noise['loss'])} nats over {len(noise['losses'])} seeds, nothing changed",
        f"Noise of a seed: {_span(seed_sd)} nats (standard deviation, 95 % interval).",
        f"Noise of a pair on the same text: {_span(pair_sd)} nats.",
        f"With one seed a change below {noise['one_seed']['percent']:.2g} % of perplexity cannot be seen.",
        _seen(visible),
        f"A campaign of this size takes about {campaign['trials']} trials of {campaign['trial_seconds']:.0f} s, and "
        f"{campaign['trials_most']} at most: {_hours(campaign['hours'])}, at most {_hours(campaign['hours_most'])}, "
        f"with {campaign['devices']} {'device' if campaign['devices'] == 1 else 'devices'}.",
        _cost(campaign),
        f"Go on with: manage.py evolve {slug}",
    ]


def _seen(visible: dict[str, Any]) -> str:
    if visible["nats"] is None:
        return f"{visible['pairs']} pairs cannot prove anything: allow at least 4."
    return (
        f"Up to {visible['pairs']} pairs prove a gain of {visible['nats']:.2g} nats ({visible['low']:.2g} to "
        f"{visible['high']:.2g}), {visible['percent']:.2g} % of perplexity, {100 * visible['power']:.0f} times of 100."
    )


def _cost(campaign: dict[str, Any]) -> str:
    hours = f"{campaign['device_hours']:.2g} device hours, at most {campaign['device_hours_most']:.2g}"
    if campaign["price_usd"] is None:
        return f"{hours}; {NO_PRICE}."
    return f"{hours}: ${campaign['cost_usd']:.2f}, at most ${campaign['cost_usd_most']:.2f}."


def _span(told: dict[str, float]) -> str:
    return f"{told['value']:.4g} ({told['low']:.4g} to {told['high']:.4g})"


def _hours(hours: float) -> str:
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:.1f} h"
