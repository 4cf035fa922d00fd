"""The runner: whatever goes wrong on our side is an outcome that is tried again, and told."""

import subprocess
import sys
from pathlib import Path

import pytest

from evolution.models import Status
from sandbox import attempts, orders, runner
from sandbox.devices import devices
from sandbox.models import Attempt, Purpose
from tests import cast

pytestmark = pytest.mark.django_db


def test_a_defect_of_ours_ends_the_attempt_with_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = cast.bred(cast.experiment("defect"))
    variant = cast.move(cast.mutation(experiment), Status.SCREENED)
    attempt = attempts.open_attempt(variant, Purpose.CHECK, devices()[0])
    assert attempt is not None

    def broken(_: Attempt) -> None:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(orders, "order", broken)
    monkeypatch.setattr(runner, "HEARTBEAT_SECONDS", 60.0)
    monkeypatch.setattr("sandbox.runner.signal.signal", lambda *_: None)  # pytest's own handlers stay
    runner.run(attempt.pk)
    attempt.refresh_from_db()
    assert (attempt.state, attempt.cause) == ("ended", "infrastructure")
    assert attempt.trial.verdict == ""


def test_importing_the_runner_runs_nothing() -> None:
    root = Path(__file__).resolve().parent.parent.parent
    code = "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'; import sandbox.runner"
    child = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout) == (0, "")
