from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from darwin_web.management.base import Code, DarwinCommand
from darwin_web.management.commands.score import VERDICT_CODES
from darwin_web.management.terminal import interruptible
from evolution.errors import Infrastructure
from evolution.inspection import Finding, inspect
from sandbox import readiness, scoring
from sandbox.models import Purpose
from sandbox.outcome import Outcome
from trainer.contract import OURS

CHECK_TOKENS = 100_000  # what schedules are told; a check ends after a few steps


class Command(DarwinCommand):
    help = (
        "Say what a directory lacks as a genome: manifest, files, functions, imports; then train it for a few steps\n"
        "in the sandbox and ask its model about training text. One line per check."
    )
    examples = (
        "manage.py check_genome my_genome",
        "manage.py check_genome my_genome --static",
        "manage.py check_genome my_genome --data shakespeare.txt",
    )
    codes = tuple(Code)
    meaning = {
        Code.DONE: "it can be evolved",
        Code.FAILED: "it does not train, save or load",
        Code.BAD_INPUT: "something is missing; the lines say what",
    }
    migrates = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", type=Path, metavar="DIR", help="a directory with a genome.toml")
        parser.add_argument("--data", default="builtin", metavar="FILE|builtin", help="text to try it on")
        parser.add_argument("--sandbox", choices=["auto", "docker", "bubblewrap"], default="auto")
        parser.add_argument("--static", action="store_true", help="only what can be seen without running it")

    def handle(self, *args: Any, directory: Path, static: bool, **options: Any) -> None:
        interruptible()
        findings = inspect(directory.expanduser())
        for finding in findings:
            self._tell(finding)
        if any(finding.fatal and not finding.passed for finding in findings):
            raise SystemExit(Code.BAD_INPUT)
        if not static:
            self._try(directory.expanduser(), options["data"], options["sandbox"])

    def _try(self, directory: Path, data: str, sandbox: str) -> None:
        outcome = scoring.score(
            directory, data, readiness.choose(sandbox), budget_tokens=CHECK_TOKENS, budget_seconds=None, seed=0,
            show=_quietly, purpose=Purpose.CHECK,
        )
        if outcome.cause in OURS:
            raise Infrastructure(outcome.sentence())
        trained = "train_seconds" in outcome.numbers and (outcome.cause is None or "judge" in outcome.phases)
        seconds = outcome.numbers.get("train_seconds") or 0.0
        self._tell(Finding("training", trained, f"a few steps in {seconds:.1f} s" if trained else _why(outcome)))
        if trained:
            loss = outcome.numbers.get("val_loss")
            judged = f"loss {loss:.2f} on training text, after a few batches" if loss else _why(outcome)
            self._tell(Finding("judging", outcome.cause is None, judged))
        if outcome.cause is not None:
            raise SystemExit(VERDICT_CODES[outcome.verdict])

    def _tell(self, finding: Finding) -> None:
        mark = "ok" if finding.passed else "missing" if finding.fatal else "look"
        self.stdout.write(f"{mark:<8}{finding.name:<10} {finding.detail}")


def _why(outcome: Outcome) -> str:
    """The sentence, and the last lines it printed."""
    lines = [line for line in outcome.log_tail.strip().splitlines() if line.strip()][-5:]
    return "\n".join([outcome.sentence(), *(f"        | {line}" for line in lines)])


def _quietly(_phase: str, _progress: float) -> None:
    """Nothing is shown while it runs: it takes seconds."""
