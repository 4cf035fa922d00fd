from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from darwin_web.archive.export import export
from darwin_web.management.base import DarwinCommand
from darwin_web.management.names import experiment_of


class Command(DarwinCommand):
    help = "Write an experiment's memory, its git repository, a report and a manifest of hashes to a new directory."
    examples = ("manage.py export demo demo-export", "manage.py verify demo-export")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the experiment")
        parser.add_argument("directory", type=Path, metavar="DIR", help="a new or an empty directory")

    def handle(self, *args: Any, name: str, directory: Path, **options: Any) -> None:
        experiment = experiment_of(name)
        export(experiment, directory)
        self.stdout.write(f"“{experiment.slug}” is in {directory}; {directory / 'report.html'} is its report.")
