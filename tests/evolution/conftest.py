"""An experiment of the tiny genome, in a var/ of its own."""

from pathlib import Path

import pytest
from pytest_django import Settings

from evolution.models import Experiment
from tests import cast


@pytest.fixture(autouse=True)
def own_var(settings: Settings, tmp_path: Path) -> Path:
    settings.DARWIN_VAR = tmp_path / "var"
    return tmp_path / "var"


@pytest.fixture
def experiment(db: None) -> Experiment:
    return cast.experiment()
