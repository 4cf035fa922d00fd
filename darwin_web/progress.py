"""The terminal's view of an experiment: one bar, one line of counts. On stderr: stdout belongs to the result."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from darwin_web.pages.progress import progress_of
from evolution import contests
from evolution.models import Contest, Experiment, Status
from sandbox.models import ACTIVE, Attempt, Purpose


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
        leader = contests.leader(experiment)
        best = leader.perplexity if leader else None
        self.bar.update(
            self.line,
            completed=progress_of(experiment).share,
            description=f"generation {experiment.generation} of {experiment.generations}"
            + (f" · leads v{leader.number} with {best:.3f}, unreplicated" if leader and best else ""),
            doing=doing(experiment),
        )


def doing(experiment: Experiment) -> str:
    attempt = Attempt.objects.filter(state__in=ACTIVE, trial__variant__experiment=experiment).select_related(
        "trial__variant").first()
    contest = contests.under_way(experiment)
    met = f" · contest {_told(contest)}" if contest is not None else ""
    if attempt is not None:
        what = " (confirmation run)" if attempt.trial.purpose == Purpose.CONFIRM else ""
        return f"v{attempt.trial.variant.number} {attempt.get_state_display()}{what} {attempt.progress:.0%}{met}"
    waiting = experiment.variants.filter(status=Status.IN_REVIEW).count()
    return f"{waiting} waiting for review{met}" if waiting else str(experiment.reason) + met


def _told(contest: Contest) -> str:
    return (
        f"{contest.number}: {contest.challenger} against {contest.champion}, "
        f"{contest.pairs} of at most {contest.experiment.confirm_pairs} pairs, e-value {contest.e_value:.2g}"
    )
