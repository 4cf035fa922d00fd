import io
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management.base import BaseCommand
from django.db.utils import OperationalError

from darwin_web.management.base import Code, DarwinCommand
from darwin_web.management.commands import score
from evolution.errors import BadInput, DarwinError, Infrastructure, NameTaken


def command(work: Callable[[], None]) -> BaseCommand:
    class Probe(DarwinCommand):
        help = "Probe."
        examples = ("manage.py probe",)
        migrates = False

        def handle(self, *args: Any, **options: Any) -> None:
            work()

    return Probe(stdout=io.StringIO())


def run(work: Callable[[], None]) -> int:
    try:
        command(work).run_from_argv(["manage.py", "probe"])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(("error", "code"), [
    (BadInput("no"), 2), (NameTaken("no"), 2), (DarwinError("no"), 1), (Infrastructure("no"), 4),
    (OperationalError("disk full"), 4), (OSError(28, "No space left on device"), 4), (KeyboardInterrupt(), 130),
])
def test_an_error_has_its_code_and_one_line_on_stderr(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(raising(error)) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("darwin: ")
    assert len(said.err.splitlines()) == 1


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()))


def test_a_command_that_works_ends_with_zero() -> None:
    assert run(lambda: None) == 0


def test_a_command_may_end_with_a_code_of_its_own() -> None:
    assert run(raising(SystemExit(Code.REJECTED))) == 3


def test_help_shows_an_example_and_the_exit_codes() -> None:
    text = command(lambda: None).create_parser("manage.py", "probe").format_help()
    assert "examples:\n  manage.py probe" in text
    assert "  130  interrupted" in text


@pytest.mark.parametrize(("numbers", "said"), [
    ({"perplexity": 9.5, "val_loss": 2.25, "val_loss_error": 0.01, "tokens_per_second": 7e3, "train_seconds": 3.0},
     "perplexity 9.5000 (loss 2.2500 ± 0.0100 nats, sampling error of the text; one seed, unreplicated), "
     "7000 tokens/s, 3.0 s"),
    ({"perplexity": 9.5, "val_loss": 2.25, "val_loss_error": None, "tokens_per_second": None, "train_seconds": 3.0},
     "perplexity 9.5000 (loss 2.2500 nats, sampling error of the text; one seed, unreplicated), "
     "tokens/s not measured, 3.0 s"),
])
def test_a_score_is_told_with_what_was_measured(numbers: dict[str, float | None], said: str) -> None:
    assert score.told(numbers) == said
