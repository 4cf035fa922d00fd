"""An experiment of the tiny genome, in a var/ of its own."""

from pathlib import Path

import pytest
from django.db import connection
from pytest_django import Settings

from evolution.models import Experiment
from tests import cast
from tests.review.conftest import shared_database

__all__ = ["shared_database"]


@pytest.fixture(autouse=True)
def own_var(settings: Settings, tmp_path: Path) -> Path:
    settings.DARWIN_VAR = tmp_path / "var"
    return tmp_path / "var"


@pytest.fixture
def database_for_threads(request: pytest.FixtureRequest) -> None:
    """What several threads may write to, and what is gone afterwards."""
    request.getfixturevalue("shared_database" if connection.vendor == "sqlite" else "transactional_db")


@pytest.fixture
def experiment(db: None) -> Experiment:
    return cast.experiment()
