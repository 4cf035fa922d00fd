import getpass
import re
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from darwin_web.management.base import Code, DarwinCommand
from darwin_web.management.names import experiment_of, variant_of
from evolution.contributions import UNTITLED, contribute, default_target
from evolution.errors import BadInput
from evolution.genomes import store_of
from evolution.patches import apply_unified

MAX_BYTES = 4 << 20


class Command(DarwinCommand):
    help = "Propose a patch of your own. It goes through the same checks and the same review as every other."
    examples = (
        "manage.py propose demo --patch wider.patch",
        'git diff | manage.py propose demo --patch - --to v31 --title "a wider model"',
    )
    meaning = {
        Code.FAILED: "the experiment is over",
        Code.BAD_INPUT: "no such experiment or variant, or the patch does not apply or touches what may not be touched",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", metavar="NAME", help="the experiment")
        parser.add_argument("--patch", required=True, metavar="FILE", help="a unified diff; - reads stdin")
        parser.add_argument(
            "--to", metavar="VARIANT", help="what it changes: v31, baseline or champion; default: the champion"
        )
        parser.add_argument("--title", default="", help="default: the patch's subject, or the file's name")
        parser.add_argument("--hypothesis", default="", help="why it should help")

    def handle(self, *args: Any, name: str, patch: str, to: str | None, **options: Any) -> None:
        experiment = experiment_of(name)
        parent = variant_of(experiment, to) if to else default_target(experiment)
        text = _read(patch)
        variant = contribute(
            experiment, to=parent, files=apply_unified(store_of(experiment).files(parent.commit), text),
            person=getpass.getuser(), title=options["title"] or _title(text, patch), hypothesis=options["hypothesis"],
        )
        self.stdout.write(f"v{variant.number} is proposed as a change to v{parent.number}: {variant.title}")


def _read(patch: str) -> str:
    try:
        content = sys.stdin.buffer.read(MAX_BYTES + 1) if patch == "-" else Path(patch).read_bytes()
    except OSError as error:
        raise BadInput(f"{patch} cannot be read ({error.strerror}): name a unified diff") from error
    if len(content) > MAX_BYTES:
        raise BadInput(f"{patch} is larger than {MAX_BYTES >> 20} MB: propose less at once")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"{patch} is not UTF-8 text: a patch may hold text only") from error


def _title(text: str, patch: str) -> str:
    """The subject that `git format-patch` writes, or the name of the file."""
    subject = re.search(r"^Subject: (?:\[[^\]]*\] *)?(.+)$", text.partition("\ndiff --git ")[0], re.MULTILINE)
    if subject:
        return subject.group(1)
    return UNTITLED if patch == "-" else Path(patch).stem
