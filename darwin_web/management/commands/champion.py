from typing import Any

from django.core.management.base import CommandParser

from darwin_web.management.base import Code, DarwinCommand
from darwin_web.management.names import experiment_of
from evolution import contests
from evolution.errors import DarwinError
from evolution.genomes import store_of
from evolution.models import Variant


class Command(DarwinCommand):
    help = "Print the champion as a patch against the baseline. Nothing else is written to stdout."
    examples = ("manage.py champion demo > better.patch", "manage.py champion demo --leader > promising.patch")
    meaning = {
        Code.DONE: "done; an empty patch when the baseline itself is the champion",
        Code.FAILED: "there is no champion yet",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the experiment")
        parser.add_argument("--leader", action="store_true", help="the lowest screening number instead, unreplicated")

    def handle(self, *args: Any, name: str, leader: bool, **options: Any) -> None:
        experiment = experiment_of(name)
        baseline, champion = experiment.baseline, experiment.champion
        if baseline is None or champion is None:
            raise DarwinError(f"“{experiment.slug}” has no champion yet: wait for the end of its first generation")
        ahead = contests.leader(experiment) or baseline
        if champion == baseline and not leader:
            self.stderr.write(f"darwin: {_nothing_proven(baseline, ahead)}: the patch is empty")
            return
        chosen = ahead if leader else champion
        self.stdout.write(store_of(experiment).diff(baseline.commit, chosen.commit), ending="")


def _nothing_proven(baseline: Variant, ahead: Variant) -> str:
    if ahead == baseline:
        return "the baseline is the champion, nothing beat it"
    return (
        f"nothing is proven to be better than the baseline yet; v{ahead.number} leads with a perplexity "
        f"of {ahead.perplexity:.4g} against {baseline.perplexity:.4g} on one seed, unreplicated (its patch: --leader)"
    )
