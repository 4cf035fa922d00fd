from typing import Any

from django.core.management.base import CommandParser

from darwin_web.management.base import Code, DarwinCommand
from darwin_web.management.names import experiment_of
from evolution.errors import DarwinError
from evolution.genomes import store_of


class Command(DarwinCommand):
    help = "Print the champion as a patch against the baseline. Nothing else is written to stdout."
    examples = ("manage.py champion demo > better.patch",)
    meaning = {
        Code.DONE: "done; an empty patch when the baseline itself is the champion",
        Code.FAILED: "there is no champion yet",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the experiment")

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        experiment = experiment_of(name)
        baseline, champion = experiment.baseline, experiment.champion
        if baseline is None or champion is None:
            raise DarwinError(f"“{experiment.slug}” has no champion yet: wait for the end of its first generation")
        if champion == baseline:
            self.stderr.write("darwin: the baseline is the champion, nothing beat it: the patch is empty")
            return
        self.stdout.write(store_of(experiment).diff(baseline.commit, champion.commit), ending="")
