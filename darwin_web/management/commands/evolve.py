import getpass
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser
from django.urls import reverse

from darwin_web.accounts import links
from darwin_web.management.base import Code, DarwinCommand
from darwin_web.management.terminal import interruptible
from darwin_web.progress import Screen
from darwin_web.summary import summary
from darwin_web.supervision import readiness
from darwin_web.supervision.lock import note, running
from darwin_web.supervisor import Supervisor
from evolution import experiments
from evolution.errors import DarwinError, Infrastructure
from evolution.models import Experiment, ExperimentStatus, MemoryMode, Pace, ReviewMode, Selection
from evolution.options import PRESETS, Options, slug_of
from sandbox import readiness as sandboxes

LOOK_SECONDS = 0.5


class Command(DarwinCommand):
    help = (
        "Create an experiment, or resume the one of that name, and run it to its end.\n"
        "Generation 0 is the baseline; --generations is the total of those bred from it.\n"
        "Workers are started unless a supervisor (make run) has them already."
    )
    examples = (
        "manage.py evolve demo2 --review auto --generations 2",
        "manage.py evolve faithful --preset darwin-paper --review auto",
        "manage.py evolve mine --genome my_genome --data shakespeare.txt --population 10 --budget-tokens 300000 --json",
    )
    meaning = {Code.DONE: "finished", Code.FAILED: "the baseline failed, or somebody stopped the experiment"}

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--genome", metavar="DIR|NAME|builtin", help="default: builtin")
        parser.add_argument("--data", metavar="FILE|builtin", help="default: builtin")
        parser.add_argument("--agent", metavar="builtin|openai|replay:FILE", help="default: builtin")
        parser.add_argument("--preset", choices=list(PRESETS), help="other defaults; what is given explicitly wins")
        parser.add_argument("--population", type=int, metavar="N", help="proposals per generation; default 10")
        parser.add_argument("--survivors", type=int, metavar="N", help="default 4")
        parser.add_argument("--generations", type=int, metavar="N", help="default 5")
        parser.add_argument("--budget-tokens", type=int, metavar="N", help="default 500000 without --budget-seconds")
        parser.add_argument("--budget-seconds", type=float, metavar="S")
        parser.add_argument("--review", choices=ReviewMode.values, help="default: human")
        parser.add_argument("--selection", choices=Selection.values,
                            help="default: tournament; a CPU's MFU is informational and never selected on")
        parser.add_argument("--sandbox", choices=["auto", "docker", "bubblewrap"], help="default: auto")
        parser.add_argument("--seed", type=int, metavar="N", help="default 0")
        parser.add_argument("--confirm", dest="confirm_pairs", type=int, metavar="N",
                            help="pairs of confirmation runs per contest at most, 0: no contests; default 8")
        parser.add_argument("--elites", type=int, metavar="N", help="the best so many always survive; default 1")
        parser.add_argument("--pace", choices=Pace.values,
                            help="steady: fill a free place at once instead of waiting for the slowest")
        parser.add_argument("--repair-tries", type=int, metavar="N", help="for one broken idea; default 1, 0: none")
        parser.add_argument("--memory", choices=MemoryMode.values, help="off, or frozen, for comparisons; default: on")
        parser.add_argument("--budget-usd", type=float, metavar="USD", help="for calls of models, in all")
        parser.add_argument("--budget-usd-day", type=float, metavar="USD", help="in 24 hours")
        parser.add_argument("--budget-usd-strategy", type=float, metavar="USD", help="for each strategy")
        parser.add_argument("--strategy", metavar="FILE",
                            help="a JSON list of ways of proposing; default: several that fit the agent")
        parser.add_argument("--json", action="store_true", help="one object as the last line of stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        interruptible()
        given = Options(**{name: options[name] for name in Options.__dataclass_fields__ if name in options})
        experiment = create_or_rejoin(given)
        with self._workers(experiment):
            experiment = self._follow(experiment)
        self._print(experiment, as_json=options["json"])
        if experiment.status != ExperimentStatus.FINISHED:
            raise _ending(experiment)

    @contextmanager
    def _workers(self, experiment: Experiment) -> Iterator[None]:
        """Workers for as long as it takes, and the pages too when a person has to decide."""
        needs_page = experiment.review != ReviewMode.AUTO and not experiment.is_over
        if running(settings.DARWIN_VAR):
            self._say_where(experiment, needs_page)
            yield
            return
        with Supervisor(web=needs_page, workers=True):
            self._say_where(experiment, needs_page)
            yield

    def _say_where(self, experiment: Experiment, needs_page: bool) -> None:
        if needs_page:
            address = str(note(settings.DARWIN_VAR).get("address") or readiness.address())
            login = reverse("login_link", args=[links.make(links.owner())])
            self.stderr.write(f"Proposals wait for your decision at {address}{reverse('review_queue')}")
            self.stderr.write(f"Log in once with {address}{login}")

    def _follow(self, experiment: Experiment) -> Experiment:
        with Screen() as screen:
            while True:
                experiment = Experiment.objects.select_related("baseline", "champion").get(pk=experiment.pk)
                screen.show(experiment)
                if experiment.is_over:
                    return experiment
                if experiment.status == ExperimentStatus.PAUSED and experiment.review == ReviewMode.AUTO:
                    raise Infrastructure(experiment.reason or "The experiment was paused: run the same command again.")
                time.sleep(LOOK_SECONDS)

    def _print(self, experiment: Experiment, *, as_json: bool) -> None:
        told = summary(experiment)
        if as_json:
            self.stdout.write(json.dumps(told, allow_nan=False))
            return
        for line in told_champion(told):
            self.stdout.write(f"{experiment.slug}: {line}")
        self.stdout.write(f"{experiment.slug} is {experiment.status}. {experiment.reason}".rstrip())


def told_champion(told: dict[str, Any]) -> Iterator[str]:
    """What was found in words, from a summary: the champion with its interval, and who leads unproven."""
    champion, baseline, leader = told["champion"], told["baseline"], told["leader"]
    if not champion or not champion["perplexity"] or not baseline["perplexity"]:
        return
    change = 100 * (champion["perplexity"] / baseline["perplexity"] - 1)
    said = f"champion v{champion['variant']}, perplexity {champion['perplexity']:.3f}"
    if champion["replicated"]:
        low, high = champion["perplexity_interval"]
        said += f" (95 % interval {low:.3f} to {high:.3f}, {champion['seeds']} seeds)"
    else:
        said += " (one seed, unreplicated)"
    if champion["variant"] == baseline["variant"]:
        yield f"{said}: the baseline, nothing is proven to be better"
    else:
        yield f"{said}, {change:+.1f} % against the baseline's {baseline['perplexity']:.3f}{_proof(champion)}"
    if leader["variant"] != champion["variant"]:
        first = champion["screening"]["perplexity"]
        yield (
            f"v{leader['variant']} leads on the screening seed with {leader['perplexity']:.3f} against {first:.3f}; "
            "one seed, unreplicated"
        )


def _proof(champion: dict[str, Any]) -> str:
    if champion["e_value"] is None:
        return ""
    low, high = champion["gain_interval"]
    return (
        f"; proven against v{champion['gain_against']}: gain {champion['gain']:.4f} nats (95 % interval {low:.4f} to "
        f"{high:.4f}), e-value {champion['e_value']:.3g}"
    )


def create_or_rejoin(given: Options) -> Experiment:
    """The experiment of that name, or a new one; ResumeMismatch when it exists with other options."""
    actor = f"user:{getpass.getuser()}"
    if given.sandbox is not None:
        sandboxes.choose(given.sandbox)  # a driver that was asked for and is not there: said now, not in a log
    if Experiment.objects.filter(slug=slug_of(given.name)).exists():
        return experiments.rejoin(given, actor=actor)
    return experiments.create(given, actor=actor, owner=links.owner())


def _ending(experiment: Experiment) -> DarwinError:
    if experiment.status == ExperimentStatus.PAUSED:
        return Infrastructure(experiment.reason)
    return DarwinError(experiment.reason or f"“{experiment.slug}” was {experiment.status}.")
