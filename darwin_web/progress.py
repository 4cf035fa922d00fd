"""The terminal's view of an experiment: one bar, one line of counts. On stderr: stdout belongs to the result."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from darwin_web.pages.progress import progress_of
from evolution.models import Experiment, Status
from sandbox.models import ACTIVE, Attempt


class Screen:
    """Shows how far an experiment is, until it is left."""

    def __init__(self) -> None:
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[doing]}"), TimeElapsedColumn(),
            console=Console(stderr=True), transient=True,
        )
        self.line = self.bar.add_task("starting", total=1.0, doing="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def show(self, experiment: Experiment) -> None:
        best = experiment.champion.perplexity if experiment.champion else None
        self.bar.update(
            self.line,
            completed=progress_of(experiment).share,
            description=f"generation {experiment.generation} of {experiment.generations}"
            + (f" · best perplexity {best:.3f}" if best else ""),
            doing=doing(experiment),
        )


def doing(experiment: Experiment) -> str:
    attempt = Attempt.objects.filter(state__in=ACTIVE, trial__variant__experiment=experiment).select_related(
        "trial__variant").first()
    if attempt is not None:
        return f"v{attempt.trial.variant.number} {attempt.get_state_display()} {attempt.progress:.0%}"
    waiting = experiment.variants.filter(status=Status.IN_REVIEW).count()
    return f"{waiting} waiting for review" if waiting else str(experiment.reason)
