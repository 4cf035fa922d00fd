"""What every command of DARWIN shares: one sentence on stderr, documented exit codes, and a database that is ready.

    class Command(DarwinCommand):
        help = "Say what the champion is."
        examples = ("manage.py champion demo",)
        codes = (Code.DONE, Code.FAILED, Code.BAD_INPUT)

        def handle(self, *args: Any, **options: Any) -> None: ...

Raise a DarwinError for anything a person should read. `raise SystemExit(Code.REJECTED)` ends with another code after
the command has said why itself.
"""

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from evolution.errors import BadInput, DarwinError, Infrastructure


class Code(IntEnum):
    """How a command of DARWIN ends."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2
    REJECTED = 3
    INFRASTRUCTURE = 4
    INTERRUPTED = 130


MEANING = {
    Code.DONE: "done",
    Code.FAILED: "failed",
    Code.BAD_INPUT: "bad input",
    Code.REJECTED: "rejected by the judge",
    Code.INFRASTRUCTURE: "the machine, the engine, the database or the disk failed",
    Code.INTERRUPTED: "interrupted",
}
ALL_BUT_REJECTED = tuple(code for code in Code if code is not Code.REJECTED)


class HelpFormatter(DjangoHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Leaves the lines of the description, the examples and the exit codes as they are."""


class DarwinCommand(BaseCommand):
    examples: Sequence[str] = ()
    codes: Sequence[Code] = ALL_BUT_REJECTED
    meaning: dict[Code, str] = {}  # where a code says something more exact than MEANING
    migrates = True  # whether the database must be ready before `handle`
    requires_system_checks: list[str] = []
    suppressed_base_arguments = {
        "--version", "--verbosity", "--settings", "--pythonpath", "--traceback", "--no-color", "--force-color",
    }

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, formatter_class=HelpFormatter, epilog=self._epilog(), allow_abbrev=False, **kwargs
        )

    def run_from_argv(self, argv: list[str]) -> None:
        try:
            super().run_from_argv(argv)
        except (DarwinError, DatabaseError, OSError, KeyboardInterrupt) as error:
            if "--traceback" in argv:
                raise
            _leave(error)

    def execute(self, *args: Any, **options: Any) -> Any:
        if self.migrates:
            migrate()
        return super().execute(*args, **options)

    def _epilog(self) -> str:
        lines = ["examples:", *(f"  {example}" for example in self.examples)] if self.examples else []
        meaning = MEANING | self.meaning
        return "\n".join([*lines, "", "exit codes:", *(f"  {code.value:<3}  {meaning[code]}" for code in self.codes)])


def exit_code(error: BaseException) -> Code:
    """Whose fault `error` is, as an exit code."""
    if isinstance(error, KeyboardInterrupt):
        return Code.INTERRUPTED
    if isinstance(error, BadInput):
        return Code.BAD_INPUT
    if isinstance(error, Infrastructure | DatabaseError | OSError):
        return Code.INFRASTRUCTURE
    return Code.FAILED


def sentence(error: BaseException) -> str:
    """What a person should read about `error`: one line, no traceback."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, DatabaseError):
        return f"the database failed ({_line(error)}): see that its disk has room and is writable, then try again"
    if isinstance(error, OSError):
        where = f" at {error.filename}" if error.filename else ""
        return f"the system refused ({error.strerror or _line(error)}{where}): correct that and try again"
    return _line(error)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _leave(error: BaseException) -> None:
    if isinstance(error, BrokenPipeError):
        # Whoever read our output left; Python must not complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        sys.stderr.write(f"darwin: {sentence(error)}\n")
    sys.exit(exit_code(error))


def migrate() -> None:
    """Bring the database up to date if it is not; of several processes that start at once only one does it."""
    if not _unapplied():
        return
    with locked(Path(settings.DARWIN_VAR) / "migrate.lock"):
        if _unapplied():
            call_command("migrate", verbosity=0, interactive=False)


def _unapplied() -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file lock at `path`; the kernel lets go of it when the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
