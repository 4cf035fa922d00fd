import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from darwin_web.management.base import Code, DarwinCommand
from darwin_web.management.terminal import bar, interruptible
from evolution.errors import Infrastructure
from sandbox import readiness, scoring
from sandbox.outcome import Outcome
from trainer.contract import OURS

BUDGET_TOKENS = 300_000
NUMBERS = (
    "val_loss", "perplexity", "bits_per_byte", "mfu", "tokens_per_second", "flops_per_token", "parameters",
    "train_seconds", "device_seconds",
)
VERDICT_CODES = {"measured": Code.DONE, "failed": Code.FAILED, "rejected": Code.REJECTED}


class Command(DarwinCommand):
    help = "Train one genome once in the sandbox and judge it."
    examples = (
        "manage.py score trainer/genome",
        "manage.py score my_genome --data shakespeare.txt --budget-tokens 300000 --seed 1 --json",
    )
    codes = tuple(Code)
    meaning = {Code.DONE: "measured", Code.FAILED: "failed, by the variant's own fault"}
    migrates = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", type=Path, metavar="DIR", help="the genome: a directory with a genome.toml")
        parser.add_argument("--data", default="builtin", metavar="FILE|builtin", help="text to train and judge on")
        parser.add_argument("--budget-tokens", type=int, metavar="N", help=f"default {BUDGET_TOKENS}")
        parser.add_argument("--budget-seconds", type=float, metavar="S")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--sandbox", choices=["auto", "docker", "bubblewrap"], default="auto")
        parser.add_argument("--json", action="store_true", help="one object as the last line of stdout")

    def handle(self, *args: Any, **options: Any) -> None:
        interruptible()
        tokens, seconds = options["budget_tokens"], options["budget_seconds"]
        if tokens is None and seconds is None:
            tokens = BUDGET_TOKENS
        driver = readiness.choose(options["sandbox"])
        with bar() as show:
            outcome = scoring.score(
                options["directory"], options["data"], driver,
                budget_tokens=tokens, budget_seconds=seconds, seed=options["seed"], show=show,
            )
        if outcome.cause in OURS:
            raise Infrastructure(outcome.sentence())
        self._print(outcome, as_json=options["json"])
        code = VERDICT_CODES[outcome.verdict]
        if code:
            raise SystemExit(code)

    def _print(self, outcome: Outcome, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(report(outcome), allow_nan=False))
            return
        if outcome.cause is not None:
            self.stdout.write(f"{outcome.verdict}: {outcome.sentence()}")
            return
        self.stdout.write(told(outcome.numbers))


def told(numbers: Mapping[str, Any]) -> str:
    """What was measured, in one line. A trainer that owns its loop counts its own tokens: it has no speed of ours."""
    error, speed = numbers.get("val_loss_error"), numbers.get("tokens_per_second")
    loss = f"{numbers['val_loss']:.4f}" + (f" ± {error:.4f}" if error is not None else "")
    speeds = f"{speed:.0f} tokens/s" if speed is not None else "tokens/s not measured"
    return (
        f"perplexity {numbers['perplexity']:.4f} (loss {loss} nats, sampling error of the text; one seed, "
        f"unreplicated), {speeds}, {numbers['train_seconds']:.1f} s"
    )


def report(outcome: Outcome) -> dict[str, Any]:
    """The contract's object; a number that is missing is null."""
    return {
        "verdict": outcome.verdict,
        "reason": outcome.sentence() if outcome.cause else "",
        **{name: outcome.numbers.get(name) for name in NUMBERS},
        "claimed": outcome.claimed,
        "val_loss_error": outcome.numbers.get("val_loss_error"),
        "replicated": False,
        "hashes": outcome.hashes,
        "phases": {name: round(seconds, 3) for name, seconds in outcome.phases.items()},
    }
