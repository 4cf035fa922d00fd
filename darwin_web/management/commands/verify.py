from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from darwin_web.management.base import Code, DarwinCommand
from evolution import archive


class Command(DarwinCommand):
    help = "Search an export, or an experiment's folder under var/experiments, for changed bytes."
    examples = ("manage.py verify demo-export", "manage.py verify var/experiments/demo")
    meaning = {
        Code.DONE: "intact",
        Code.FAILED: "changed; each line on stdout says what",
        Code.BAD_INPUT: "neither an export nor an experiment's folder",
    }
    migrates = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", type=Path, metavar="DIR")

    def handle(self, *args: Any, directory: Path, **options: Any) -> None:
        changed = archive.changes(directory)
        if not changed:
            self.stdout.write(f"{directory} is intact.")
            return
        for one in changed:
            self.stdout.write(one)
        self.stderr.write(f"darwin: {directory} was changed: take an intact export, or restore from one")
        raise SystemExit(Code.FAILED)
