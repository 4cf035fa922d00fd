from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from darwin_web.management.base import Code, DarwinCommand
from evolution.errors import BadInput
from evolution.importing import import_genome
from trainer.adapters import NAMES

SHOWN = 12


class Command(DarwinCommand):
    help = (
        "Make a genome of an unmodified checkout of a trainer that owns its loop.\n"
        "Version control, data, notebooks, images and large files are left out; nothing of it is run."
    )
    examples = (
        "manage.py import_genome ~/nanoGPT --name nano",
        "manage.py import_genome ~/nanoGPT --name nano-cpu --set n_layer=4 n_head=4 n_embd=128 block_size=64 "
        "batch_size=12 dropout=0.0",
        "manage.py evolve first --genome nano",
    )
    codes = (Code.DONE, Code.BAD_INPUT, Code.INFRASTRUCTURE, Code.INTERRUPTED)
    meaning = {Code.DONE: "imported", Code.BAD_INPUT: "the directory, the name or a setting cannot be used"}

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", type=Path, metavar="DIR", help="the checkout")
        parser.add_argument("--name", required=True, metavar="NAME", help="what --genome of evolve will call it")
        parser.add_argument("--adapter", choices=NAMES, default="nanogpt", help="whose shape it has; default: nanogpt")
        parser.add_argument(
            "--config", metavar="FILE", help="one of its configuration files; default: config/train_shakespeare_char.py"
        )
        parser.add_argument(
            "--set", nargs="+", default=[], metavar="KEY=VALUE", dest="changed",
            help="settings in place of those in the configuration, such as a smaller model for a CPU",
        )

    def handle(self, *args: Any, directory: Path, name: str, **options: Any) -> None:
        done = import_genome(
            directory.expanduser().resolve(), name=name, adapter=options["adapter"], config=options["config"],
            changed=dict(_pair(word) for word in options["changed"]),
        )
        genome = done.genome
        self.stdout.write(f"{name} is in {done.folder}: {len(done.files)} files, {len(done.left_out)} left out")
        if done.left_out:
            more = f" and {len(done.left_out) - SHOWN} more" if len(done.left_out) > SHOWN else ""
            self.stdout.write(f"left out: {', '.join(done.left_out[:SHOWN])}{more}")
        self.stdout.write(f"command: {' '.join(genome.command or ())}")
        self.stdout.write(f"context {genome.context} tokens, vocabulary {genome.vocabulary}; genome.toml says the rest")
        self.stdout.write(f"next: manage.py check_genome {done.folder}, then manage.py evolve NAME --genome {name}")


def _pair(word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not key.isidentifier() or not equals:
        raise BadInput(f"“{word}” is no setting: write KEY=VALUE, such as n_layer=4")
    return key, value
