from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from darwin_web.management.base import Code, DarwinCommand
from evolution.restore import restore


class Command(DarwinCommand):
    help = "Rebuild the database rows of an experiment from an export or from its folder under var/experiments."
    examples = ("manage.py restore demo-export", "manage.py restore var/experiments/demo")
    meaning = {
        Code.FAILED: "the files were changed; nothing was restored",
        Code.BAD_INPUT: "not an export, or the experiment is in the database already",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", type=Path, metavar="DIR")

    def handle(self, *args: Any, directory: Path, **options: Any) -> None:
        experiment = restore(directory)
        count = experiment.variants.count()
        self.stdout.write(f"“{experiment.slug}” is restored with {count} variants; it is {experiment.status}.")
        if experiment.reason:
            self.stdout.write(experiment.reason)
